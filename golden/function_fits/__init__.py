"""Fits of the paper's function neurons, and what they are off: `python -m golden.function_fits`."""
