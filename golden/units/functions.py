"""Function neurons: piecewise approximators of exp2, reciprocal, rsqrt and SiLU, and their tables.

Each takes its table as an argument, because a model image carries it; `default_tables` fits them.
"""

from dataclasses import dataclass

import numpy as np

from golden.units.fixed import bit_length, rshift
from isa.formats import (
    EXP2_CLAMP,
    EXP2_FRACTION,
    EXP2_PIECES,
    RECIPROCAL_ENTRIES,
    RSQRT_ENTRIES,
    SCORE_FRACTION,
    SILU_FRACTION,
    SILU_PIECES,
    SILU_SLOPE_FRACTION,
    VECTOR,
)

EXP2_SHIFT = SCORE_FRACTION - EXP2_PIECES.bit_length() + 1  # fraction bits inside a piece: 3
SILU_LIMIT = 8 << SILU_FRACTION
SILU_SHIFT = (2 * SILU_LIMIT // SILU_PIECES).bit_length() - 1  # bits inside a piece: 10


@dataclass(frozen=True)
class Tables:
    """Table contents, int64: exp2_base, exp2_slope (32); silu_base, silu_slope (64);
    rsqrt (256, entries 0..63 unused); reciprocal (128)."""

    exp2_base: np.ndarray
    exp2_slope: np.ndarray
    silu_base: np.ndarray
    silu_slope: np.ndarray
    rsqrt: np.ndarray
    reciprocal: np.ndarray


def default_tables() -> Tables:
    """Chords of each function on uniform pieces; midpoints for rsqrt and reciprocal."""
    x = np.arange(EXP2_PIECES + 1) / EXP2_PIECES
    exp2 = 2.0**-x
    s = -8 + np.arange(SILU_PIECES + 1) * 16 / SILU_PIECES
    silu_value = s / (1 + np.exp(-s))
    middle = (np.arange(RSQRT_ENTRIES) + 0.5) / RSQRT_ENTRIES
    half = (np.arange(RECIPROCAL_ENTRIES, 2 * RECIPROCAL_ENTRIES) + 0.5) / (2 * RECIPROCAL_ENTRIES)

    def integers(v: np.ndarray) -> np.ndarray:
        return np.round(v).astype(np.int64)

    return Tables(
        exp2_base=integers(exp2[:-1] * 2**EXP2_FRACTION),
        exp2_slope=integers(np.diff(exp2) * EXP2_PIECES * 2 ** (EXP2_FRACTION - SCORE_FRACTION)),
        silu_base=integers(silu_value[:-1] * 2**SILU_FRACTION),
        silu_slope=integers(np.diff(silu_value) * SILU_PIECES / 16 * 2**SILU_SLOPE_FRACTION),
        rsqrt=np.minimum(integers(128 / np.sqrt(middle)), 255),
        reciprocal=np.minimum(integers(128 / half), 255),
    )


def _top8(value: np.ndarray, exponent: np.ndarray) -> np.ndarray:
    return np.where(
        exponent >= 8, value >> np.maximum(exponent - 8, 0), value << np.maximum(8 - exponent, 0)
    )


def rsqrt(value: np.ndarray, tables: Tables) -> tuple[np.ndarray, np.ndarray]:
    """1/sqrt(value) ~= mantissa * 2**exponent for integers 1 <= value < 2**32; 0 counts as 1.

    With e the bit length rounded up to even: table[top 8 bits at e] * 2**(-e/2 - 7).
    """
    value = np.maximum(np.asarray(value, dtype=np.int64), 1)
    e = bit_length(value)
    e = e + (e & 1)
    return tables.rsqrt[_top8(value, e)], -(e >> 1) - 7


def reciprocal(value: np.ndarray, tables: Tables) -> tuple[np.ndarray, np.ndarray]:
    """1/value ~= mantissa * 2**exponent for integers 1 <= value < 2**32; 0 counts as 1."""
    value = np.maximum(np.asarray(value, dtype=np.int64), 1)
    e = bit_length(value)
    return tables.reciprocal[_top8(value, e) - RECIPROCAL_ENTRIES], -e - 7


def exp2_negative(t: np.ndarray, tables: Tables) -> np.ndarray:
    """2**-t for t >= 0 with 8 fraction bits -> 15 fraction bits; t is cut at 31."""
    t = np.minimum(np.asarray(t, dtype=np.int64), EXP2_CLAMP)
    whole, fraction = t >> SCORE_FRACTION, t & ((1 << SCORE_FRACTION) - 1)
    piece, delta = fraction >> EXP2_SHIFT, fraction & ((1 << EXP2_SHIFT) - 1)
    return rshift(tables.exp2_base[piece] + tables.exp2_slope[piece] * delta, whole)


def silu(g: np.ndarray, fraction: int, tables: Tables) -> np.ndarray:
    """SiLU of a vector with `fraction` <= 12 fraction bits, in the same format.

    The argument is widened to 12 fraction bits; at or above 8 it passes, below -8 it gives 0.
    The value is rounded half up back to `fraction` bits.
    """
    g = np.asarray(g, dtype=np.int64)
    widen = SILU_FRACTION - fraction
    wide = g << widen
    piece = np.clip((wide + SILU_LIMIT) >> SILU_SHIFT, 0, SILU_PIECES - 1)
    delta = wide + SILU_LIMIT - (piece << SILU_SHIFT)
    inside = tables.silu_base[piece] + rshift(
        tables.silu_slope[piece] * delta, SILU_SLOPE_FRACTION
    )
    y = rshift(inside, widen)
    return np.where(wide >= SILU_LIMIT, g, np.where(wide < -SILU_LIMIT, 0, y))


assert VECTOR.bits + SILU_FRACTION < 63  # the widened argument fits int64
