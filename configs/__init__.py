"""YAML presets: an algorithm's defaults and its tuned settings per environment family."""
