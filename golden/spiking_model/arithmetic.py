"""PyTorch twins of golden/units, batched: every integer step for any number of positions at once.

Names, arguments and results are those of golden/units, except that exponents, mantissas and shifts
are arrays that broadcast over leading axes instead of single numbers. Integers of at most 53 bits
are exact in float64, and so are their products with powers of two: a shift is a product, a rounded
shift is floor(product + 1/2). Arguments may be integer tensors; results are integers in float64.

Vectors are tensors. What is one number for each position or head is a NumPy array: that is little
work, and NumPy's calls cost a third of PyTorch's.
"""

import numpy as np
import torch

from isa.formats import CODE, TRIGONOMETRIC_FRACTION, VECTOR

Tensor = torch.Tensor
Scalars = np.ndarray  # float64, a number for each position or head in an axis of size 1
Shift = Scalars | Tensor | int

# A tensor, because PyTorch takes longer to make one of a number than for many a step itself.
HALF = {kind: torch.tensor(0.5, dtype=kind) for kind in (torch.float32, torch.float64)}
ABOVE = 1 + 2.0**-23  # the least float32 above 1

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


def power(exponent: Shift, kind: type = np.float64) -> Tensor | float:
    """2**exponent, exactly."""
    if isinstance(exponent, int):
        return 2.0**exponent
    return torch.from_numpy(np.exp2(np.asarray(exponent, np.float64)).astype(kind, copy=False))


def half_up_(value: Tensor) -> Tensor:
    """Rounds to integers in place, halves upwards."""
    return value.add_(HALF[value.dtype]).floor_()


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


def code_exponent(values: Tensor) -> Scalars:
    """Spike codes' exponent over the last axis (kept, of size 1), as the OR of magnitudes gives.

    The OR of magnitudes and the largest magnitude have the same bit length.
    """
    return exponent_of(values.abs().amax(-1, keepdim=True))


def exponent_of(largest: Tensor) -> Scalars:
    """Spike codes' exponent where the largest magnitude is known."""
    return np.frexp(largest.numpy())[1] - (CODE.bits - 1.0)


def encode_(values: Tensor, exponent: Scalars) -> Tensor:
    """Spike codes round(v / 2**exponent), half away from zero, at most 127; int8.

    Values have 24 bits, in float32, and are overwritten. `round_` takes ties to even; a little more
    than the power keeps them off. In float32 that is one or two units in the last place, at most
    2**-16, which moves nothing else where quotients are multiples of 2**-15.
    """
    power = np.exp2(-exponent)
    if exponent.max() <= 15:
        scaled = values.mul_(torch.from_numpy((power * ABOVE).astype(np.float32)))
    else:
        scaled = values * torch.from_numpy(power * (1 + 2.0**-40))
    return scaled.round_().clamp_(-CODE.maximum, CODE.maximum).to(torch.int8)


def code(values: Tensor) -> tuple[Tensor, Scalars]:
    """(spike codes, their exponent) of vectors (..., n); exponents are (..., 1)."""
    values = values.to(torch.float32, copy=True)
    exponent = code_exponent(values)
    return encode_(values, exponent), exponent


def saturated_code(values: Tensor) -> tuple[Tensor, int, Tensor, Scalars]:
    """(*saturate(values), *code of these): the exponent tells whether anything is to clip."""
    codes, exponent = code(values)
    if exponent.max() <= VECTOR.bits - CODE.bits:
        return values, 0, codes, exponent
    values, clipped = saturate(values)
    return values, clipped, *code(values)


def factor(mantissa: Scalars | int, shift: Scalars | int) -> Scalars:
    """mantissa * 2**-shift."""
    return mantissa * np.exp2(np.negative(shift, dtype=np.float64))


def post(y: Tensor, mantissa: Scalars | int, shift: Scalars, bias: Tensor | None = None,
         residual: Tensor | None = None) -> tuple[Tensor, int]:
    """What in golden/units/post.py follows the gain: (vector, saturations).

    Overwrites y, which has 24 bits, in float64.
    """
    by = np.asarray(factor(mantissa, shift))
    y, clipped = half_up_(y.mul_(torch.from_numpy(by))), 0
    if by.max() > 1:                                     # otherwise 24 bits stay 24 bits
        y, clipped = saturate(y)
    for addend in (bias, residual):
        if addend is not None:
            y, more = saturate(y.add_(addend))
            clipped += more
    return y, clipped


def of_codes(table: Tensor, codes: Tensor) -> Tensor:
    """Elements of a table (256,), one for each byte, by int8 codes."""
    return look_up(table, codes.view(torch.uint8))


def by_code(values: Tensor) -> Tensor:
    """The table for `of_codes` of what codes -127..127 have."""
    return torch.cat((values.new_zeros(1), values)).roll(CODE.maximum + 1)


def look_up(table: Tensor, index: Tensor) -> Tensor:
    """Elements of a table by integers of any type, in the index's shape."""
    return table.index_select(0, index.to(torch.int32).flatten()).view(index.shape)


def turns(cosine: np.ndarray, sine: np.ndarray) -> Tensor:
    """Complex factors (..., d/2) of the device's cosines and sines."""
    return torch.from_numpy((cosine + 1j * sine) * 2.0**-TRIGONOMETRIC_FRACTION)


def rotate_(head: Tensor, turn: Tensor) -> Tensor:
    """Rotary embedding of neighbouring pairs, in place and not saturated.

    head (..., d) in float64, turn (..., d/2) as `turns` gives it.
    """
    pairs = torch.view_as_complex(head.view(*head.shape[:-1], -1, 2))
    pairs.mul_(turn)                                     # exact: products of integers
    return half_up_(head)


def spike_counts(codes: Tensor) -> Tensor:
    """Each code's spikes in the phase schedule: the non-zero digits of its non-adjacent form."""
    return look_up(SPIKES_OF_CODE, codes.abs())
