"""Stored results as data. The wheel has those of the learning study, for `marlx reproduce`."""
