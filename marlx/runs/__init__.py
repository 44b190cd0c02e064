"""The run folder and all that is written in it."""
