"""Reference results, a JSON each, read by `marlx.analysis.reproduction`."""
