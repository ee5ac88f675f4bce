"""The vector unit's steps around attention and the gated unit: rotate, weights, modulate."""

import numpy as np

from golden.units.fixed import encode, rshift, saturate, scale
from golden.units.functions import Tables, exp2_negative, reciprocal
from isa.formats import TRIGONOMETRIC_FRACTION, VECTOR

MAXIMUM_ALIGNMENT = 31  # a probability shifted right by more than this is 0 anyway


def rotate(head: np.ndarray, cosine: np.ndarray, sine: np.ndarray) -> tuple[np.ndarray, int]:
    """Rotary embedding of neighbouring pairs: head (..., d), cosine and sine (d/2,) at 10 fraction
    bits -> (rotated (..., d), saturations). Rounds each sum of two products half up, once."""
    head = np.asarray(head, dtype=np.int64)
    a, b = head[..., 0::2], head[..., 1::2]
    first = rshift(a * cosine - b * sine, TRIGONOMETRIC_FRACTION)
    second = rshift(a * sine + b * cosine, TRIGONOMETRIC_FRACTION)
    return saturate(np.stack([first, second], -1).reshape(head.shape))


def softmax(
    scores: np.ndarray, value_exponents: np.ndarray, alignment: int, tables: Tables
) -> tuple[np.ndarray, int, int]:
    """Scores (T,) in log2 units -> (aligned probabilities (T,), reciprocal mantissa, exponent).

    p = 2**-(max - score); the sum's reciprocal waits as a scalar; each p is shifted right by
    alignment - value_exponent, alignment being the largest value exponent up to this position,
    so that one exponent serves all positions. The scalar's exponent already includes alignment.
    """
    scores = np.asarray(scores, dtype=np.int64)
    p = exp2_negative(scores.max() - scores, tables)
    return _aligned(p, int(p.sum()), value_exponents, alignment, tables)


def gate(
    scores: np.ndarray, value_exponents: np.ndarray, alignment: int, tables: Tables
) -> tuple[np.ndarray, int, int]:
    """Attention without softmax: as `softmax`, but p = max(score, 0), scores (T,) with
    GATE_FRACTION fraction bits, and in the sum every position counts 1: the scalar is 1/T."""
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
    """Spikes of `driver`, coded at `exponent`, gather copies of `operand` element by element:
    scale(code * operand, shift - exponent) -> (product, saturations)."""
    return scale(encode(driver, exponent) * np.asarray(operand, dtype=np.int64), shift - exponent)


assert VECTOR.bits + 13 < 62  # products of a vector element and a code or cosine fit int64
