"""Staircase function neurons (the paper's CustomNeuron) and optimal fits of them.

A neuron of T steps integrates its constant input, V(t) = (t + 1) x, and is never reset. It adds the
amplitude of every step t whose threshold V(t) reaches. So its output is a staircase in x, which
rises at x = threshold(t) / (t + 1). T steps make T levels, because the first one is always taken.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from golden.function_fits.partitions import subdivide

Function = Callable[[np.ndarray], np.ndarray]
LeastError = Literal["largest", "squared"]


@dataclass(frozen=True)
class FunctionNeurons:
    """One staircase neuron for each piece: edges (N + 1,), thresholds and amplitudes (N, T)."""

    edges: np.ndarray
    thresholds: np.ndarray
    amplitudes: np.ndarray

    @property
    def steps(self) -> int:
        """Steps of all neurons together."""
        return self.thresholds.size

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(n,) -> (n,): runs the neuron of each input's piece step by step, float64.

        Inputs outside the edges go to the nearest neuron.
        """
        x = np.asarray(x, np.float64)
        piece = np.clip(np.searchsorted(self.edges, x, "right") - 1, 0, len(self.thresholds) - 1)
        potential, total = np.zeros_like(x), np.zeros_like(x)
        for t in range(self.thresholds.shape[1]):
            potential = potential + x
            fires = potential >= self.thresholds[piece, t]
            total += np.where(fires, self.amplitudes[piece, t], 0.0)
        return total


def fit(function: Function, edges: np.ndarray, steps: int, least: LeastError = "largest",
        cells: int = 64) -> FunctionNeurons:
    """A neuron of `steps` steps in each piece, the best there is.

    Args:
        function: what is approximated, for float64 arrays.
        edges: of the pieces, (N + 1,).
        steps: levels of each piece.
        least: which error is least, the largest or the mean square (over x).
        cells: a piece is cut into so many; steps lie on their edges.

    Raises:
        ValueError: fewer cells than steps.
    """
    return _neurons(function, edges, subdivide(edges, cells), steps, least)


def train(function: Function, edges: np.ndarray, steps: int, cells: int = 16) -> FunctionNeurons:
    """One neuron of `steps` steps over the whole domain, its mean square error the least there is.

    Thresholds are free of the partition `edges`, whose pieces, each cut into `cells`, only say
    where the steps may lie.

    Raises:
        ValueError: fewer cells than steps.
    """
    fine = np.append(subdivide(edges, cells)[:, :-1].ravel(), edges[-1])
    return _neurons(function, edges[[0, -1]], fine[None], steps, "squared")


def _neurons(function: Function, edges: np.ndarray, cuts: np.ndarray, steps: int,
             least: LeastError) -> FunctionNeurons:
    """Optimal steps on the cell edges `cuts` (N, cells + 1) of each piece."""
    if cuts.shape[1] <= steps:
        raise ValueError(f"{cuts.shape[1] - 1} cells are too few for {steps} steps")
    if least == "largest":
        cost, level = _half_ranges(function(cuts))
        first = _segments(cost, steps, np.maximum)
    else:
        cost, level = _squares(function((cuts[:, :-1] + cuts[:, 1:]) / 2), np.diff(cuts))
        first = _segments(cost, steps, np.add)
    last = np.concatenate([first[:, 1:], np.full((len(first), 1), cuts.shape[1] - 1)], 1) - 1
    piece = np.arange(len(first))[:, None]
    levels = level[piece, first, last]
    amplitudes = np.diff(levels, prepend=0.0)
    thresholds = cuts[piece, first] * np.arange(1, steps + 1)
    return FunctionNeurons(edges, thresholds, amplitudes)


def _half_ranges(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """y (N, n + 1) at cell edges -> (largest error, level) of cells i..j as one step, (N, n, n)."""
    before = np.tri(y.shape[1] - 1, y.shape[1], -1, dtype=bool)     # edge points left of cell i
    high = np.maximum.accumulate(np.where(before, -np.inf, y[:, None]), -1)[..., 1:]
    low = np.minimum.accumulate(np.where(before, np.inf, y[:, None]), -1)[..., 1:]
    allowed = ~before[:, :-1]
    with np.errstate(invalid="ignore"):
        return np.where(allowed, (high - low) / 2, np.inf), np.where(allowed, (high + low) / 2, 0)


def _squares(y: np.ndarray, width: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """y and width (N, n) of cells -> (squared error, mean) of cells i..j as one step, (N, n, n)."""
    allowed = np.tri(y.shape[1], dtype=bool).T

    def sums(v: np.ndarray) -> np.ndarray:
        until = np.cumsum(v, -1)
        return until[:, None, :] - (until - v)[:, :, None]           # of cells i..j

    total = np.where(allowed, sums(width), 1.0)
    mean = sums(width * y) / total
    return np.where(allowed, np.maximum(sums(width * y * y) - total * mean**2, 0), np.inf), mean


def _segments(cost: np.ndarray, steps: int, join: np.ufunc) -> np.ndarray:
    """Dynamic programming: first cells (N, steps) of the segments whose joined cost is least.

    cost (N, n, n) is that of cells i..j; `join` adds costs or takes the largest.
    """
    pieces, n = cost.shape[:2]
    best, origin = cost[:, 0], []            # best[j]: cells 0..j in as many segments as so far
    until = np.ascontiguousarray(cost.swapaxes(1, 2))                # until[j, i]: cells i..j
    for _ in range(steps - 1):
        before = np.concatenate([np.full((pieces, 1), np.inf), best[:, :-1]], 1)
        whole = join(before[:, None], until)
        origin.append(whole.argmin(-1))
        best = np.take_along_axis(whole, origin[-1][..., None], -1)[..., 0]
    end, first = np.full(pieces, n - 1), []
    for choice in reversed(origin):
        first.append(choice[np.arange(pieces), end])
        end = first[-1] - 1
    return np.stack([np.zeros(pieces, np.int64), *reversed(first)], 1)
