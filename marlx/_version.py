"""The version of marlx, for modules below its public face."""

__version__ = "0.1.0"
