"""PyTorch twins of golden/units, batched: every integer step for any number of positions at once.

Names, arguments and results are those of golden/units, except that exponents, scalars and maxima
are tensors that broadcast over leading axes instead of single numbers. Tensors are int64; sums of
products are carried in floating point by BLAS, in a type in which the bound is exact.
"""

from dataclasses import dataclass

import torch

from golden.units.functions import EXP2_SHIFT, SILU_LIMIT, SILU_SHIFT
from golden.units.functions import Tables as NumpyTables
from golden.units.norm import NormConstants
from isa.formats import (
    CODE,
    EXP2_CLAMP,
    MAXIMUM_LEFT_SHIFT,
    RECIPROCAL_ENTRIES,
    SCORE_FRACTION,
    SILU_FRACTION,
    SILU_PIECES,
    SILU_SLOPE_FRACTION,
    TRIGONOMETRIC_FRACTION,
    VECTOR,
)

Tensor = torch.Tensor
Shift = Tensor | int


def matmul(a: Tensor, b: Tensor, bound: int) -> Tensor:
    """Exact integer a @ b; `bound` is a proven limit of every partial sum's magnitude.

    float32 holds integers below 2^24 exactly and float64 below 2^53, in any order of summation.

    Raises:
        OverflowError: a bound that not even float64 holds.
    """
    if bound >= 1 << 53:
        raise OverflowError(f"sums up to {bound} are not exact in float64")
    kind = torch.float32 if bound < 1 << 24 else torch.float64
    return (a.to(kind) @ b.to(kind)).to(torch.int64)


def code_matmul(codes: Tensor, rows: Tensor) -> Tensor:
    """codes (..., n) @ rows (n, outputs), both within +-127."""
    return matmul(codes, rows, codes.shape[-1] * CODE.maximum * CODE.maximum)


def rshift(value: Tensor, shift: Shift) -> Tensor:
    """value * 2**-shift rounded half up; a negative shift shifts left. Shifts clip at 62 bits."""
    if isinstance(shift, int):
        if shift <= 0:
            return value << min(-shift, 62)
        right = min(shift, 62)
        return (value + (1 << (right - 1))) >> right
    right, left = shift.clamp(0, 62), (-shift).clamp(0, 62)
    half = (torch.ones_like(right) << right) >> 1
    return ((value + half) >> right) << left


def saturate(value: Tensor, bits: int = VECTOR.bits) -> tuple[Tensor, int]:
    """(value clipped to the symmetric range of `bits` bits, how many elements were clipped)."""
    maximum = (1 << (bits - 1)) - 1
    clipped = value.clamp(-maximum, maximum)
    return clipped, int(torch.count_nonzero(clipped != value))


def scale(value: Tensor, shift: Shift) -> tuple[Tensor, int]:
    """Saturated rshift to the vector format; left shifts beyond 24 bits saturate what is not 0."""
    if isinstance(shift, int):
        return saturate(rshift(value, max(shift, -MAXIMUM_LEFT_SHIFT)))
    return saturate(rshift(value, shift.clamp(min=-MAXIMUM_LEFT_SHIFT)))


def bit_length(value: Tensor) -> Tensor:
    """Bits needed for non-negative integers below 2**52; 0 for 0."""
    return torch.frexp(value.to(torch.float64))[1].to(torch.int64)


def code_exponent(values: Tensor) -> Tensor:
    """Spike codes' exponent over the last axis (kept, of size 1), as the OR of magnitudes gives.

    The OR of magnitudes and the largest magnitude have the same bit length.
    """
    return bit_length(values.abs().amax(-1, keepdim=True)) - (CODE.bits - 1)


def encode(values: Tensor, exponent: Shift) -> Tensor:
    """Spike codes round(v / 2**exponent), half away from zero, at most 127."""
    code = rshift(values.abs(), exponent).clamp(max=CODE.maximum)
    return torch.where(values < 0, -code, code)


def post(accumulators: Tensor, gain: Shift, drop: Shift, mantissa: Shift, shift: Shift,
         bias: Tensor | None = None, residual: Tensor | None = None) -> tuple[Tensor, int]:
    """Gain, scale, bias and residual as in golden/units/post.py: (vector, saturations)."""
    y, clipped = saturate(rshift(accumulators * gain, drop))
    y, more = scale(y * mantissa, shift)
    clipped += more
    for addend in (bias, residual):
        if addend is not None:
            y, more = saturate(y + addend)
            clipped += more
    return y, clipped


@dataclass(frozen=True)
class Tables:
    """The function neurons' tables as int64 tensors."""

    exp2_base: Tensor
    exp2_slope: Tensor
    silu_base: Tensor
    silu_slope: Tensor
    rsqrt: Tensor
    reciprocal: Tensor

    @classmethod
    def of(cls, tables: NumpyTables) -> "Tables":
        """The same tables as tensors."""
        return cls(**{name: torch.tensor(getattr(tables, name), dtype=torch.int64)
                      for name in cls.__dataclass_fields__})


def _top8(value: Tensor, exponent: Tensor) -> Tensor:
    return (value << (8 - exponent).clamp(min=0)) >> (exponent - 8).clamp(min=0)


def rsqrt(value: Tensor, tables: Tables) -> tuple[Tensor, Tensor]:
    """(mantissa, exponent) of 1/sqrt(value), 1 <= value < 2**32; 0 counts as 1."""
    value = value.clamp(min=1)
    e = bit_length(value)
    e = e + (e & 1)
    return tables.rsqrt[_top8(value, e)], -(e >> 1) - 7


def reciprocal(value: Tensor, tables: Tables) -> tuple[Tensor, Tensor]:
    """(mantissa, exponent) of 1/value, 1 <= value < 2**32; 0 counts as 1."""
    value = value.clamp(min=1)
    e = bit_length(value)
    return tables.reciprocal[_top8(value, e) - RECIPROCAL_ENTRIES], -e - 7


def exp2_negative(t: Tensor, tables: Tables) -> Tensor:
    """2**-t, t >= 0 with 8 fraction bits -> 15 fraction bits."""
    t = t.clamp(max=EXP2_CLAMP)
    whole, fraction = t >> SCORE_FRACTION, t & ((1 << SCORE_FRACTION) - 1)
    piece, delta = fraction >> EXP2_SHIFT, fraction & ((1 << EXP2_SHIFT) - 1)
    return rshift(tables.exp2_base[piece] + tables.exp2_slope[piece] * delta, whole)


def silu(g: Tensor, fraction: int, tables: Tables) -> Tensor:
    """SiLU of vectors with `fraction` <= 12 fraction bits, in the same format."""
    widen = SILU_FRACTION - fraction
    wide = g << widen
    piece = ((wide + SILU_LIMIT) >> SILU_SHIFT).clamp(0, SILU_PIECES - 1)
    delta = wide + SILU_LIMIT - (piece << SILU_SHIFT)
    inside = tables.silu_base[piece] + rshift(tables.silu_slope[piece] * delta,
                                              SILU_SLOPE_FRACTION)
    y = torch.where(wide >= SILU_LIMIT, g, rshift(inside, widen))
    return torch.where(wide < -SILU_LIMIT, torch.zeros_like(y), y)


def norm_scalar(codes: Tensor, exponent: Tensor, constants: NormConstants,
                tables: Tables) -> tuple[Tensor, Tensor]:
    """(mantissa, exponent) of 1/rms of codes (..., n) at exponents (..., 1)."""
    squares = codes.square().sum(-1, keepdim=True)
    shift = (constants.epsilon_shift + 2 * exponent).clamp(min=-MAXIMUM_LEFT_SHIFT)
    mean = rshift(squares * constants.mean_mantissa, constants.mean_shift)
    epsilon = rshift(torch.full_like(shift, constants.epsilon_mantissa), shift)
    return rsqrt((mean + epsilon).clamp(max=2**32 - 1), tables)


def rotate(head: Tensor, cosine: Tensor, sine: Tensor) -> tuple[Tensor, int]:
    """Rotary embedding of neighbouring pairs: head (..., d), cosine and sine (..., d/2)."""
    a, b = head[..., 0::2], head[..., 1::2]
    first = rshift(a * cosine - b * sine, TRIGONOMETRIC_FRACTION)
    second = rshift(a * sine + b * cosine, TRIGONOMETRIC_FRACTION)
    return saturate(torch.stack([first, second], -1).flatten(-2))


def spike_count(codes: Tensor) -> int:
    """Spikes of the phase schedule: the non-zero digits of the codes' non-adjacent forms."""
    q = codes.abs()
    bits = (3 * q) ^ q                     # one bit for each non-zero digit, at most 9 bits
    return int(sum(((bits >> k) & 1).sum() for k in range(CODE.bits + 1)))
