"""Weights and parameters as the memories hold them, packed with NumPy."""

import numpy as np

from golden.quantisation.synapses import Synapses
from host.compiler.shapes import Shapes, ceil
from isa.configurations import Configuration


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


def token_rows(weight: np.ndarray, c: Configuration) -> np.ndarray:
    """(dim, tokens) -> link words (tokens, words): one row a tile, its weights in core 0."""
    outputs, tokens = weight.shape
    count = ceil(outputs, c.lanes)
    rows = np.zeros((tokens, count, c.cores, c.lanes), dtype=np.int8)
    padded = np.zeros((tokens, count * c.lanes), dtype=np.int8)
    padded[:, :outputs] = weight.T
    rows[:, :, 0] = padded.reshape(tokens, count, c.lanes)
    return rows.reshape(tokens, -1).view(np.uint32)


def parameter_words(m: Synapses, c: Configuration, start: int, count: int) -> np.ndarray:
    """Parameter entries of `count` outputs from `start`, as link words."""
    v = c.vector_lanes
    groups = ceil(count, v)

    def grouped(values: np.ndarray) -> np.ndarray:
        padded = np.zeros(groups * v, dtype=np.int64)
        padded[:count] = values[start : start + count]
        return padded.reshape(groups, v)

    words = [grouped(m.gain) | grouped(m.drop) << 8]
    if m.bias is not None:
        bias = grouped(m.bias) & 0xFFFFFF
        words += [bias & 0xFFFF, bias >> 16]
    return np.stack(words, 1).astype(np.uint16).reshape(-1).view(np.uint32)


def rotation_words(cosine: np.ndarray, sine: np.ndarray, s: Shapes, context: int) -> np.ndarray:
    """Rotation memory as link words: cosine and sine of each pair side by side, 16 bits each."""
    table = np.zeros((context, s.head // 2, 2), dtype=np.int16)
    pairs = cosine.shape[1]
    table[:, :pairs, 0], table[:, :pairs, 1] = cosine[:context], sine[:context]
    return table.reshape(-1).view(np.uint32)
