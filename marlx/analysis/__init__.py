"""Analysis of finished runs: comparisons, figures, reports and checks."""
