"""Piecewise straight lines: chords, and those whose largest error is the least."""

from dataclasses import dataclass

import numpy as np

from golden.function_fits.partitions import subdivide
from golden.function_fits.staircase import Function

SAMPLES = 128    # points of a piece in which an error is looked for
HALVINGS = 60    # of the interval that holds the best slope


@dataclass(frozen=True)
class Lines:
    """A line base + slope (x - edge) in each piece; edges (N + 1,), base and slope (N,)."""

    edges: np.ndarray
    base: np.ndarray
    slope: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(n,) -> (n,); inputs outside the edges follow the nearest line."""
        piece = np.clip(np.searchsorted(self.edges, x, "right") - 1, 0, len(self.base) - 1)
        return self.base[piece] + self.slope[piece] * (x - self.edges[piece])


def chords(function: Function, edges: np.ndarray) -> Lines:
    """Lines through the function at both ends of each piece."""
    y = function(edges)
    return Lines(edges, y[:-1], np.diff(y) / np.diff(edges))


def fit(function: Function, edges: np.ndarray) -> Lines:
    """The line of least largest error in each piece.

    With the best base a slope is off by half the range of f(x) - slope x, which is convex in the
    slope: a ternary search between the steepest and the flattest chord of the samples finds it.
    """
    x = subdivide(edges, SAMPLES)
    y, x = function(x), x - edges[:-1, None]

    def off(slope: np.ndarray) -> np.ndarray:
        return np.ptp(y - slope[:, None] * x, axis=1)

    slopes = np.diff(y) / np.diff(x)
    low, high = slopes.min(1), slopes.max(1)
    for _ in range(HALVINGS):
        third = (high - low) / 3
        left = off(low + third) < off(high - third)
        low, high = np.where(left, low, low + third), np.where(left, high - third, high)
    slope = (low + high) / 2
    rest = y - slope[:, None] * x
    return Lines(edges, (rest.max(1) + rest.min(1)) / 2, slope)
