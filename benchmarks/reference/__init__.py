"""Reference results: a JSON per algorithm and environment, read by `marlx.reproduction`."""
