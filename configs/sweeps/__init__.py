"""Sweep files: for `marlx sweep FILE`, and for `wandb sweep FILE` with `wandb agent`."""
