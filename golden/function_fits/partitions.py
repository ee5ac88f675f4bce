"""Where an approximator's domain is cut: the partitions of BrainTransformers' approximators.

Each gives N + 1 increasing edges; piece i is [edge i, edge i + 1).
"""

import numpy as np


def uniform(low: float, high: float, pieces: int) -> np.ndarray:
    """x_i = low + (high - low) i / N."""
    return low + (high - low) * np.arange(pieces + 1) / pieces


def power_law(high: float, pieces: int, power: float) -> np.ndarray:
    """x_i = high (i / N)^power on [0, high]: narrower near 0 for a power above 1."""
    return high * (np.arange(pieces + 1) / pieces) ** power


def logarithmic(low: float, high: float, pieces: int) -> np.ndarray:
    """x_i = low (high / low)^(i / N), 0 < low: pieces of equal ratio."""
    return low * (high / low) ** (np.arange(pieces + 1) / pieces)


def subdivide(edges: np.ndarray, parts: int) -> np.ndarray:
    """Edges (N, parts + 1) of each piece cut into equal parts; the ends are the piece's own."""
    cuts = np.linspace(edges[:-1], edges[1:], parts + 1, axis=1)
    cuts[:, 0], cuts[:, -1] = edges[:-1], edges[1:]
    return cuts
