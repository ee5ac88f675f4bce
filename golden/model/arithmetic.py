"""PyTorch twins of golden/units, batched: every integer step for any number of positions at once.

Names, arguments and results are those of golden/units, except that exponents, scalars and maxima
are tensors that broadcast over leading axes instead of single numbers. Integers of at most 53 bits
are exact in float64, and so are their products with powers of two: a shift is a product, a rounded
shift is floor(product + 1/2). Arguments may be integer tensors; results are integers in float64.
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

HALF = {kind: torch.tensor(0.5, dtype=kind) for kind in (torch.float32, torch.float64)}

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


def real(value: Tensor) -> Tensor:
    """Integer tensors as float64; floating ones as they are."""
    return value if value.is_floating_point() else value.to(torch.float64)


def power(exponent: Shift) -> Tensor | float:
    """2**exponent, exactly.

    A number for each position or head is little work, and NumPy's calls cost a third of PyTorch's:
    so here and in what else is done position by position.
    """
    if isinstance(exponent, Tensor):
        return torch.from_numpy(np.exp2(real(exponent).numpy()))
    return 2.0**exponent


def half_up_(value: Tensor) -> Tensor:
    """Rounds to integers in place, halves upwards."""
    return value.add_(0.5).floor_()


def product_half_up_(value: Tensor, columns: Tensor) -> Tensor:
    """value (..., n) * columns (n or 1, n) rounded to integers in place, halves upwards.

    One pass less than apart; a factor for each row is better multiplied in first.
    """
    return torch.addcmul(HALF[value.dtype], value, columns, out=value).floor_()


def rshift(value: Tensor, shift: Shift) -> Tensor:
    """value * 2**-shift rounded half up, |value| < 2**51; a negative shift shifts left."""
    return half_up_(real(value) * power(-shift))


def saturate(value: Tensor, bits: int = VECTOR.bits) -> tuple[Tensor, int]:
    """(value clipped to the symmetric range of `bits` bits, how many elements were clipped)."""
    maximum = (1 << (bits - 1)) - 1
    lowest, highest = value.aminmax()
    if lowest.item() >= -maximum and highest.item() <= maximum:
        return value, 0
    clipped = value.clamp(-maximum, maximum)
    return clipped, int(torch.count_nonzero(clipped != value))


def scale(value: Tensor, shift: Shift) -> tuple[Tensor, int]:
    """Saturated rshift to the vector format; what left shifts make too large saturates."""
    return saturate(rshift(value, shift))


def bit_length(value: Tensor) -> Tensor:
    """Bits needed for non-negative integers; 0 for 0."""
    return real(torch.frexp(real(value)).exponent)


def code_exponent(values: Tensor) -> Tensor:
    """Spike codes' exponent over the last axis (kept, of size 1), as the OR of magnitudes gives.

    The OR of magnitudes and the largest magnitude have the same bit length.
    """
    return exponent_of(values.abs().amax(-1, keepdim=True))


def exponent_of(largest: Tensor) -> Tensor:
    """Spike codes' exponent where the largest magnitude is known."""
    length = np.frexp(real(largest).numpy())[1]
    return torch.from_numpy(length - (CODE.bits - 1.0))


def encode(values: Tensor, exponent: Shift) -> Tensor:
    """Spike codes round(v / 2**exponent), half away from zero, at most 127; float32.

    Values have 24 bits. `round_` takes ties to even; a little more than the power keeps them off.
    """
    scaled = values.to(torch.float64) * (power(-exponent) * (1 + 2.0**-40))
    return scaled.round_().to(torch.float32).clamp_(-CODE.maximum, CODE.maximum)


def code(values: Tensor) -> tuple[Tensor, Tensor]:
    """(spike codes, their exponent) of vectors (..., n); exponents are (..., 1)."""
    exponent = code_exponent(values)
    return encode(values, exponent), exponent


def factor(mantissa: Shift, shift: Shift) -> Tensor | float:
    """mantissa * 2**-shift."""
    if not isinstance(shift, Tensor):
        return (real(mantissa) if isinstance(mantissa, Tensor) else mantissa) * power(-shift)
    whole = real(mantissa).numpy() if isinstance(mantissa, Tensor) else mantissa
    return torch.from_numpy(whole * np.exp2(-real(shift).numpy()))


def post(accumulators: Tensor, gain: Shift, drop: Shift, mantissa: Shift, shift: Shift,
         bias: Tensor | None = None, residual: Tensor | None = None) -> tuple[Tensor, int]:
    """Gain, scale, bias and residual as in golden/units/post.py: (vector, saturations)."""
    y, clipped = saturate(half_up_(real(accumulators) * factor(gain, drop)))
    y, more = post_scaled(y, mantissa, shift, bias, residual)
    return y, clipped + more


def post_scaled(y: Tensor, mantissa: Shift, shift: Shift, bias: Tensor | None = None,
                residual: Tensor | None = None) -> tuple[Tensor, int]:
    """`post` after the gain; overwrites y."""
    y, clipped = saturate(half_up_(y.mul_(factor(mantissa, shift))))
    for addend in (bias, residual):
        if addend is not None:
            y, more = saturate(y.add_(addend))
            clipped += more
    return y, clipped


@dataclass(frozen=True)
class Tables:
    """The function neurons' tables as float64 tensors; exp2's as float32."""

    silu_base: Tensor
    silu_slope: Tensor
    rsqrt: Tensor
    reciprocal: Tensor
    exp2: Tensor  # 2**-t itself, for every t up to where it is 0

    @classmethod
    def of(cls, tables: NumpyTables) -> "Tables":
        """The same tables as tensors."""
        every = exp2_negative(np.arange(EXP2_CLAMP + 1), tables)
        return cls(**{name: torch.tensor(getattr(tables, name), dtype=torch.float64)
                      for name in ("silu_base", "silu_slope", "rsqrt", "reciprocal")},
                   exp2=torch.tensor(every, dtype=torch.float32))


def look_up(table: Tensor, index: Tensor) -> Tensor:
    """Elements of a table by integers of any type, in the index's shape."""
    return table.index_select(0, index.to(torch.int32).flatten()).view(index.shape)


def _top8(value: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """(the highest 8 bits, bit length) of positive integers, int32; less than 1 counts as 1."""
    fraction, length = np.frexp(np.maximum(real(value).numpy(), 1.0))
    return (fraction * 256).astype(np.int32), length


def rsqrt(value: Tensor, tables: Tables) -> tuple[Tensor, Tensor]:
    """(mantissa, exponent) of 1/sqrt(value), 1 <= value < 2**32; 0 counts as 1."""
    top, length = _top8(value)
    mantissa = tables.rsqrt.numpy()[top >> (length & 1)]
    return torch.from_numpy(mantissa), torch.from_numpy(-7 - (length + 1 >> 1))


def reciprocal(value: Tensor, tables: Tables) -> tuple[Tensor, Tensor]:
    """(mantissa, exponent) of 1/value, 1 <= value < 2**32; 0 counts as 1."""
    top, length = _top8(value)
    mantissa = tables.reciprocal.numpy()[top - RECIPROCAL_ENTRIES]
    return torch.from_numpy(mantissa), torch.from_numpy(-7 - length)


def exp2(t: Tensor, tables: Tables) -> Tensor:
    """2**-t, t >= 0 with 8 fraction bits -> 15 fraction bits; float32."""
    return look_up(tables.exp2, t.clamp(max=EXP2_CLAMP))


def silu(g: Tensor, fraction: int, tables: Tables) -> Tensor:
    """SiLU of vectors with `fraction` <= 12 fraction bits, in the same format."""
    widen = SILU_FRACTION - fraction
    g = real(g)
    above = (g * 2.0**widen).clamp_(-SILU_LIMIT, SILU_LIMIT).add_(SILU_LIMIT)
    piece = (above * 2.0**-SILU_SHIFT).to(torch.int32).clamp_(max=SILU_PIECES - 1)
    inside = above.sub_(piece, alpha=1 << SILU_SHIFT).mul_(look_up(tables.silu_slope, piece))
    inside = rshift(inside, SILU_SLOPE_FRACTION).add_(look_up(tables.silu_base, piece))
    y = torch.where(g >= SILU_LIMIT * 2.0**-widen, g, rshift(inside, widen) if widen else inside)
    return y.masked_fill_(g < -SILU_LIMIT * 2.0**-widen, 0)


def silu_values(fraction: int, tables: Tables) -> Tensor:
    """`silu` of every vector element where it is neither 0 nor its argument; float32."""
    limit = SILU_LIMIT >> (SILU_FRACTION - fraction)
    return silu(torch.arange(-limit - 1, limit + 1), fraction, tables).to(torch.float32)


def silu_at_once(g: Tensor, values: Tensor) -> Tensor:
    """`silu` looked up in its `silu_values`; float32."""
    limit = len(values) // 2 - 1
    lowest, highest = g.aminmax()
    if lowest.item() >= -limit and highest.item() <= limit:              # as almost always
        return look_up(values, g + (limit + 1))
    inside = look_up(values, g.clamp(-limit - 1, limit) + (limit + 1))
    return inside.add_((g.to(torch.float32) - limit).clamp_(min=0))


def norm_scalar(squares: Tensor, exponent: Tensor, constants: NormConstants,
                tables: Tables) -> tuple[Tensor, Tensor]:
    """(mantissa, exponent) of 1/rms from sums of squared codes and their exponents."""
    mean = real(squares).numpy().astype(np.float64)
    mean = np.floor(mean * factor(constants.mean_mantissa, constants.mean_shift) + 0.5)
    shift = np.maximum(constants.epsilon_shift + 2 * real(exponent).numpy(), -MAXIMUM_LEFT_SHIFT)
    epsilon = np.floor(constants.epsilon_mantissa * np.exp2(-shift) + 0.5)
    return rsqrt(torch.from_numpy(np.minimum(mean + epsilon, 2**32 - 1)), tables)


def rotate(head: Tensor, cosine: Tensor, sine: Tensor) -> tuple[Tensor, int]:
    """Rotary embedding of neighbouring pairs: head (..., d), cosine and sine (..., d/2)."""
    pairs = torch.view_as_complex(real(head).unflatten(-1, (-1, 2)))     # exact: products of ints
    turned = torch.view_as_real(pairs * torch.complex(real(cosine), real(sine))).flatten(-2)
    return scale(turned, TRIGONOMETRIC_FRACTION)


def spike_counts(codes: Tensor) -> Tensor:
    """Each code's spikes in the phase schedule: the non-zero digits of its non-adjacent form."""
    return look_up(SPIKES_OF_CODE, codes.abs())
