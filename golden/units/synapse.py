"""The synapse core, which only accumulates: every spike adds or subtracts one row of weights."""

import numpy as np

from golden.units.neuron import fire
from isa.schedule import Schedule


def gather(codes: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """All spikes at once: codes (N,) and rows (N, P) of int8 -> accumulators (P,), exact integers.

    Equal to `gather_spikes` for every schedule whose spikes sum to the code.
    """
    return np.asarray(codes, dtype=np.int64) @ np.asarray(rows, dtype=np.int64)


def gather_spikes(codes: np.ndarray, rows: np.ndarray, schedule: Schedule) -> np.ndarray:
    """The same, spike by spike: acc += S * (row << amplitude) for every address event."""
    rows = np.asarray(rows, dtype=np.int64)
    accumulator = np.zeros(rows.shape[1], dtype=np.int64)
    for spikes in fire(codes, schedule):
        for neuron in np.flatnonzero(spikes.sign):
            accumulator += spikes.sign[neuron] * (rows[neuron] << spikes.amplitude)
    return accumulator
