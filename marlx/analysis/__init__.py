"""Reading runs back: comparisons, pictures, reports, checks."""
