"""Protocol cards, and the results that were submitted under them (data, shipped with marlx)."""
