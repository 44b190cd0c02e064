"""Learners: one file each, built from the parts in `marlx`."""
