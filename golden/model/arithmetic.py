"""PyTorch twins of golden/units, batched: every integer step for any number of positions at once.

Names, arguments and results are those of golden/units, except that exponents, scalars and maxima
are tensors that broadcast over leading axes instead of single numbers. Tensors are int64; sums of
products are carried in floating point by BLAS, in a type in which the bound is exact.
"""

from dataclasses import dataclass

import numpy as np
import torch

from golden.units.functions import SILU_LIMIT, SILU_SHIFT, exp2_negative
from golden.units.functions import Tables as NumpyTables
from golden.units.norm import NormConstants
from isa.formats import (
    CODE,
    EXP2_CLAMP,
    MAXIMUM_LEFT_SHIFT,
    RECIPROCAL_ENTRIES,
    SILU_FRACTION,
    SILU_PIECES,
    SILU_SLOPE_FRACTION,
    TRIGONOMETRIC_FRACTION,
    VECTOR,
)

Tensor = torch.Tensor
Shift = Tensor | int

# Non-zero digits of the non-adjacent form of q: the bits in which 3 q and q differ.
SPIKES_OF_CODE = torch.tensor([((3 * q) ^ q).bit_count() for q in range(CODE.maximum + 1)])


def exact_type(bound: int) -> torch.dtype:
    """The float type that holds every integer up to `bound`, a limit of all partial sums.

    float32 is exact below 2^24 and float64 below 2^53, in any order of summation.

    Raises:
        OverflowError: a bound that not even float64 holds.
    """
    if bound >= 1 << 53:
        raise OverflowError(f"sums up to {bound} are not exact in float64")
    return torch.float32 if bound < 1 << 24 else torch.float64


def rshift(value: Tensor, shift: Shift) -> Tensor:
    """value * 2**-shift rounded half up; a negative shift shifts left. Shifts clip at 62 bits."""
    if isinstance(shift, int):
        if shift <= 0:
            return value << min(-shift, 62)
        right = min(shift, 62)
        return (value + (1 << (right - 1))) >> right
    lowest, highest = (int(limit) for limit in shift.aminmax())
    right = shift if lowest >= 0 and highest <= 62 else shift.clamp(0, 62)
    value = (value + ((1 << right) >> 1)) >> right
    return value << (-shift).clamp(0, 62) if lowest < 0 else value


def saturate(value: Tensor, bits: int = VECTOR.bits) -> tuple[Tensor, int]:
    """(value clipped to the symmetric range of `bits` bits, how many elements were clipped)."""
    maximum = (1 << (bits - 1)) - 1
    lowest, highest = value.aminmax()
    if int(lowest) >= -maximum and int(highest) <= maximum:
        return value, 0
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

    silu_base: Tensor
    silu_slope: Tensor
    rsqrt: Tensor
    reciprocal: Tensor
    exp2: Tensor  # 2**-t itself, for every t up to where it is 0

    @classmethod
    def of(cls, tables: NumpyTables) -> "Tables":
        """The same tables as tensors."""
        every = exp2_negative(np.arange(EXP2_CLAMP + 1), tables)
        return cls(**{name: torch.tensor(getattr(tables, name))
                      for name in ("silu_base", "silu_slope", "rsqrt", "reciprocal")},
                   exp2=torch.tensor(every))


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


def exp2(t: Tensor, tables: Tables) -> Tensor:
    """2**-t, t >= 0 with 8 fraction bits -> 15 fraction bits."""
    return tables.exp2[t.clamp(max=EXP2_CLAMP)]


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


def norm_scalar(squares: Tensor, exponent: Tensor, constants: NormConstants,
                tables: Tables) -> tuple[Tensor, Tensor]:
    """(mantissa, exponent) of 1/rms from sums of squared codes and their exponents."""
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


def spike_counts(codes: Tensor) -> Tensor:
    """Each code's spikes in the phase schedule: the non-zero digits of its non-adjacent form."""
    return SPIKES_OF_CODE[codes.abs()]
