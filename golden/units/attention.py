"""The vector unit's steps: rotary embedding, attention's weights, and the elementwise gate.

T is the number of positions up to the current one. Arrays are int64.
"""

import numpy as np

from golden.units.fixed import encode, rshift, saturate, scale
from golden.units.functions import Tables, exp2_negative, reciprocal
from isa.formats import TRIGONOMETRIC_FRACTION, VECTOR

MAXIMUM_ALIGNMENT = 31  # a probability shifted right by more than this is 0 anyway


def rotate(head: np.ndarray, cosine: np.ndarray, sine: np.ndarray) -> tuple[np.ndarray, int]:
    """Rotary embedding of neighbouring pairs -> (rotated (..., d), saturations).

    head is (..., d), cosine and sine (d/2,) with 10 fraction bits. Each sum of two products is
    rounded half up, once.
    """
    head = np.asarray(head, dtype=np.int64)
    a, b = head[..., 0::2], head[..., 1::2]
    first = rshift(a * cosine - b * sine, TRIGONOMETRIC_FRACTION)
    second = rshift(a * sine + b * cosine, TRIGONOMETRIC_FRACTION)
    return saturate(np.stack([first, second], -1).reshape(head.shape))


def softmax(
    scores: np.ndarray, value_exponents: np.ndarray, alignment: int, tables: Tables
) -> tuple[np.ndarray, int, int]:
    """Scores (T,) in log2 units -> (aligned probabilities (T,), reciprocal mantissa, exponent).

    p = 2**-(max - score). The division comes later: the reciprocal of the sum is the scalar of the
    epilogue behind the mix. Each value has an exponent of its own; p is shifted right by
    alignment - value_exponent, with alignment the largest of them, so that one exponent serves all
    positions. The scalar's exponent includes the alignment.
    """
    scores = np.asarray(scores, dtype=np.int64)
    p = exp2_negative(scores.max() - scores, tables)
    return _aligned(p, int(p.sum()), value_exponents, alignment, tables)


def gate(
    scores: np.ndarray, value_exponents: np.ndarray, alignment: int, tables: Tables
) -> tuple[np.ndarray, int, int]:
    """Attention without softmax: p = max(score, 0), and the scalar is 1/T; else as `softmax`.

    Scores have GATE_FRACTION fraction bits.
    """
    scores = np.asarray(scores, dtype=np.int64)
    return _aligned(np.maximum(scores, 0), len(scores), value_exponents, alignment, tables)


def _aligned(
    p: np.ndarray, total: int, value_exponents: np.ndarray, alignment: int, tables: Tables
) -> tuple[np.ndarray, int, int]:
    mantissa, exponent = reciprocal(np.int64(total), tables)
    away = np.minimum(alignment - np.asarray(value_exponents), MAXIMUM_ALIGNMENT)
    return rshift(p, away), int(mantissa), int(exponent) + alignment


def modulate(
    driver: np.ndarray, exponent: int, operand: np.ndarray, shift: int
) -> tuple[np.ndarray, int]:
    """The elementwise gate: scale(code * operand, shift - exponent) -> (product, saturations).

    The codes are those of `driver` at `exponent`. Every spike of an element adds or subtracts
    a shifted copy of the operand's element.
    """
    return scale(encode(driver, exponent) * np.asarray(operand, dtype=np.int64), shift - exponent)


assert VECTOR.bits + 13 < 62  # products of a vector element and a code or cosine fit int64
