"""The training loop, all in JAX, and its placement on devices."""
