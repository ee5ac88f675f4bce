"""Function neurons: exp2, reciprocal, rsqrt and SiLU by small tables, as the hardware has them.

exp2 and SiLU are piecewise lines, the other two are looked up. Each takes its tables as an
argument, because a model's image carries them; `default_tables` fits those that we ship.
"""

from dataclasses import dataclass

import numpy as np

from golden.units.fixed import bit_length, rshift
from isa.formats import (
    CODE,
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


def least_error_lines(values: np.ndarray, fraction: int, exact: int) -> tuple[np.ndarray,
                                                                              np.ndarray]:
    """(base, slope): the integer lines of least largest error, with the rounding that they get.

    Args:
        values: (pieces, n) what base + rshift(slope * delta, fraction), delta = 0..n-1, should be.
        fraction: fraction bits of the slopes, which have 8 bits with their sign.
        exact: the piece that begins with exactly its first value.
    """
    delta = np.arange(values.shape[1])
    chord = np.round((values[:, -1] - values[:, 0]) / delta[-1] * 2**fraction).astype(np.int64)
    slopes = np.clip(chord + np.arange(-3, 4)[:, None], -CODE.maximum, CODE.maximum)
    rest = values - rshift(slopes[..., None] * delta, fraction)      # (candidates, pieces, n)
    base = np.round((rest.max(-1) + rest.min(-1)) / 2).astype(np.int64)
    base[:, exact] = np.round(values[exact, 0])
    best = np.abs(rest - base[..., None]).max(-1).argmin(0)
    piece = np.arange(len(values))
    return base[best, piece], slopes[best, piece]


def default_tables() -> Tables:
    """The tables that every model gets.

    exp2 has chords. SiLU has the integer lines of least largest error, with 0 at 0, so that a
    silent input stays silent. rsqrt and reciprocal have the function at the middle of each entry.
    """
    x = np.arange(EXP2_PIECES + 1) / EXP2_PIECES
    exp2 = 2.0**-x
    wide = np.arange(-SILU_LIMIT, SILU_LIMIT).reshape(SILU_PIECES, -1)
    silu_value = wide / (1 + np.exp(-wide / 2**SILU_FRACTION))
    silu_base, silu_slope = least_error_lines(silu_value, SILU_SLOPE_FRACTION, SILU_PIECES // 2)
    middle = (np.arange(RSQRT_ENTRIES) + 0.5) / RSQRT_ENTRIES
    half = (np.arange(RECIPROCAL_ENTRIES, 2 * RECIPROCAL_ENTRIES) + 0.5) / (2 * RECIPROCAL_ENTRIES)

    def integers(v: np.ndarray) -> np.ndarray:
        return np.round(v).astype(np.int64)

    return Tables(
        exp2_base=integers(exp2[:-1] * 2**EXP2_FRACTION),
        exp2_slope=integers(np.diff(exp2) * EXP2_PIECES * 2 ** (EXP2_FRACTION - SCORE_FRACTION)),
        silu_base=silu_base,
        silu_slope=silu_slope,
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
