"""A linear map in integers, and how float weights become one."""

from dataclasses import dataclass, replace

import numpy as np

from isa.errors import SpikeletError
from isa.formats import ARRIVED_MAXIMUM, CODE, DROP, UNITY_SHIFT, VECTOR

CHUNK_ELEMENTS = 1 << 22  # weights that are rounded at a time


@dataclass(frozen=True)
class Synapses:
    """A linear map in integers.

    The accumulator of an output is requantised to y1 = saturate(rshift(acc * gain, drop)), which
    stands for y1 * 2**exponent.

    weight (outputs, inputs) in -127..127, int8; gain (outputs,) in 128..255; drop (outputs,), the
    requantisation shift, in 0..63; bias (outputs,) in the vector format, or None. y1 cannot
    saturate, whatever the codes are: drop is chosen by each row's sum of |weight|.
    """

    weight: np.ndarray
    gain: np.ndarray
    drop: np.ndarray
    exponent: int
    bias: np.ndarray | None = None

    @property
    def outputs(self) -> int:
        return self.weight.shape[0]

    @property
    def inputs(self) -> int:
        return self.weight.shape[1]

    @property
    def accumulator_bound(self) -> int:
        """Largest |accumulator| that any codes can give."""
        return int(ARRIVED_MAXIMUM * np.abs(self.weight).sum(1).max())

    def part(self, first: int, end: int) -> "Synapses":
        """The outputs first..end-1; gains, drops and exponent stay as they are."""
        bias = None if self.bias is None else self.bias[first:end]
        return Synapses(self.weight[first:end], self.gain[first:end], self.drop[first:end],
                        self.exponent, bias)

    def outline(self) -> "Synapses":
        """The same map with weights of 0 that take no memory: for what needs only its shape."""
        return replace(self, weight=np.broadcast_to(np.int8(0), self.weight.shape))


def outlined(outputs: int, inputs: int, bias: np.ndarray | None = None) -> Synapses:
    """A map of this shape whose weights of 0 take no memory."""
    ones = np.ones(outputs, np.int64)
    return Synapses(np.broadcast_to(np.int8(0), (outputs, inputs)), 128 * ones, 0 * ones, 0, bias)


def _scale(peak: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(gain, exponent of two, gain / 128 * 2**exponent) of rows whose largest |weight| is `peak`.

    Raises:
        SpikeletError: a weight that is no finite number.
    """
    if not np.isfinite(peak).all():
        raise SpikeletError("the checkpoint is damaged: it has weights that are not finite "
                            "numbers; fetch it again")
    peak = np.maximum(peak, 2.0**-60) / CODE.maximum
    e = np.floor(np.log2(peak))
    gain = np.clip(np.round(peak / 2.0**e * 128), 128, 255)
    return gain.astype(np.int64), (e - UNITY_SHIFT).astype(np.int64), gain / 128 * 2.0**e


def _round(weight: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return np.clip(np.round(weight / scale), -CODE.maximum, CODE.maximum).astype(np.int8)


def _finished(rows: np.ndarray, gain: np.ndarray, e: np.ndarray, bound: np.ndarray,
              bias: np.ndarray | None = None) -> Synapses:
    """The map of these rows at one exponent; `bound` is each row's largest |accumulator|."""
    silent = bound == 0
    top = int(e[~silent].max()) if (~silent).any() else 0
    e[silent] = top
    # More drop for all rows where the largest y1 of one would leave the vector format.
    bits = [int(b + (b >> 16)).bit_length() for b in bound * gain]  # room for rounding up
    spare = [b - (VECTOR.bits - 1) - (top - int(x)) for b, x in zip(bits, e, strict=True)]
    guard = max(0, *spare)
    drop = np.minimum(top - e + guard, DROP.maximum)
    return Synapses(rows, gain, drop, top + guard, bias)


def quantise_synapses(weight: np.ndarray, bias: np.ndarray | None = None,
                      columns: np.ndarray | None = None) -> Synapses:
    """Rounds each row to int8 at its own gain; `columns` (inputs,) scale the weights before.

    It works on a part of the rows at a time, so that no float64 copy of a large matrix is made.
    """
    outputs, inputs = weight.shape
    rows = np.empty((outputs, inputs), dtype=np.int8)
    gain, e, sums = (np.empty(outputs, dtype=np.int64) for _ in range(3))
    step = max(1, CHUNK_ELEMENTS // inputs)
    for start in range(0, outputs, step):
        at = slice(start, start + step)
        part = np.asarray(weight[at], dtype=np.float64)
        if columns is not None:
            part = part * columns
        gain[at], e[at], scale = _scale(np.abs(part).max(1))
        rows[at] = _round(part, scale[:, None])
        sums[at] = np.abs(rows[at]).sum(1)
    return _finished(rows, gain, e, ARRIVED_MAXIMUM * sums, bias)


def quantise_picked(embedding: np.ndarray) -> Synapses:
    """An embedding (vocab, dim) as a map: its inputs are tokens, of which one fires once."""
    step = max(1, CHUNK_ELEMENTS // embedding.shape[1])
    parts = [slice(n, n + step) for n in range(0, len(embedding), step)]
    peak = np.max([np.abs(embedding[at]).max(0) for at in parts], axis=0).astype(np.float64)
    gain, e, scale = _scale(peak)
    rows = np.empty(embedding.shape, dtype=np.int8)
    for at in parts:
        rows[at] = _round(np.asarray(embedding[at], dtype=np.float64), scale)
    largest = np.max([np.abs(rows[at]).max(0) for at in parts], axis=0).astype(np.int64)
    return _finished(rows.T, gain, e, largest)
