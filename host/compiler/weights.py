"""Weights and parameters as the memories hold them, packed with NumPy."""

import numpy as np

from golden.quantisation.quantise import Synapses
from host.compiler.layout import Shapes, ceil
from isa.configurations import Configuration


def pad_heads(weight: np.ndarray, heads: int, size: int, padded: int, axis: int) -> np.ndarray:
    """Every head along `axis` filled up with zeros from `size` to `padded` elements."""
    if size == padded:
        return weight
    shape = list(weight.shape)
    shape[axis : axis + 1] = [heads, size]
    widths = [(0, 0)] * len(shape)
    widths[axis + 1] = (0, padded - size)
    result = np.pad(weight.reshape(shape), widths)
    shape[axis : axis + 2] = [heads * padded]
    return result.reshape(shape)


def pad_outputs(s: Synapses, heads: int, size: int, padded: int) -> Synapses:
    """A map whose outputs are heads, padded; the new outputs are 0."""

    def pad(v: np.ndarray) -> np.ndarray:
        return pad_heads(v, heads, size, padded, 0)

    bias = None if s.bias is None else pad(s.bias)
    return Synapses(pad(s.weight), pad(s.gain), pad(s.drop), s.exponent, bias)


def pad_inputs(s: Synapses, heads: int, size: int, padded: int) -> Synapses:
    """A map whose inputs are heads, padded; the new inputs have no weights."""
    weight = pad_heads(s.weight, heads, size, padded, 1)
    return Synapses(weight, s.gain, s.drop, s.exponent, s.bias)


def tiles(weight: np.ndarray, c: Configuration) -> np.ndarray:
    """(outputs, inputs) -> int8 (tiles, rows, cores, lanes): [t, r, k, l] is the weight of
    input r * G + k to output t * P + l; 0 where there is none."""
    outputs, inputs = weight.shape
    t, r = ceil(outputs, c.lanes), ceil(inputs, c.cores)
    padded = np.zeros((t * c.lanes, r * c.cores), dtype=np.int8)
    padded[:outputs, :inputs] = weight
    return padded.reshape(t, c.lanes, r, c.cores).transpose(0, 2, 3, 1)


def row_words(rows: np.ndarray) -> np.ndarray:
    """int8 rows (..., cores, lanes) as link words."""
    return np.ascontiguousarray(rows).reshape(-1).view(np.uint32)


def parameter_words(s: Synapses, c: Configuration, start: int, count: int) -> np.ndarray:
    """Parameter entries of `count` outputs from `start`, as uint16 (entries, V)."""
    v = c.vector_lanes
    groups = ceil(count, v)

    def grouped(values: np.ndarray) -> np.ndarray:
        padded = np.zeros(groups * v, dtype=np.int64)
        padded[:count] = values[start : start + count]
        return padded.reshape(groups, v)

    words = [grouped(s.gain) | grouped(s.drop) << 8]
    if s.bias is not None:
        bias = grouped(s.bias) & 0xFFFFFF
        words += [bias & 0xFFFF, bias >> 16]
    return np.stack(words, 1).reshape(-1, v).astype(np.uint16)


def rotation_words(cosine: np.ndarray, sine: np.ndarray, s: Shapes, context: int) -> np.ndarray:
    """Rotation memory as link words: cosine and sine of each pair side by side, 16 bits each."""
    table = np.zeros((context, s.head // 2, 2), dtype=np.int16)
    pairs = cosine.shape[1]
    table[:, :pairs, 0], table[:, :pairs, 1] = cosine[:context], sine[:context]
    return table.reshape(-1).view(np.uint32)
