"""The integer steps of golden/units once more, in PyTorch, for any number of positions at once.

Functions have the names, arguments and results of golden/units. The difference is that exponents,
mantissas and shifts are arrays that broadcast over leading axes instead of single numbers.

Integers are carried in floating point, because its products are fast. float64 holds every integer
of at most 53 bits exactly, and so it holds their products with powers of two: a shift is a product,
and a rounded shift is floor(product + 1/2). Arguments may be integer tensors, too.

Vectors are tensors. What is one number for each position or head is a NumPy array: there is little
of it, and a call of NumPy costs a third of one of PyTorch. A name that ends in an underscore
overwrites its first argument, as in PyTorch.
"""

import numpy as np
import torch
from torch import Tensor

from isa.formats import CODE, TRIGONOMETRIC_FRACTION, VECTOR

Scalars = np.ndarray  # float64, a number for each position or head in an axis of size 1
Shift = Scalars | Tensor | int

# Made once, because making a tensor of a number takes longer than many of the steps themselves.
HALF = {kind: torch.tensor(0.5, dtype=kind) for kind in (torch.float32, torch.float64)}
ABOVE = 1 + 2.0**-23  # the least float32 above 1

# Spikes of |code| 0..127 under exact thresholds: the non-zero digits of its non-adjacent form.
# They are the bits in which 3 q and q differ.
SPIKES_OF_CODE = torch.tensor([((3 * q) ^ q).bit_count() for q in range(CODE.maximum + 1)])


def exact_type(bound: int) -> torch.dtype:
    """The smaller float type that holds every integer up to `bound`, which limits all partial sums.

    float32 is exact below 2^24 and float64 below 2^53, in whatever order a product adds.

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

    This saves a pass over memory. A factor for each row is better multiplied in before.
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
    """Exponent of the spike codes of vectors (..., n), (..., 1).

    It comes from the peak. The hardware takes the OR of all magnitudes, whose bit length is the
    same.
    """
    return exponent_of(values.abs().amax(-1, keepdim=True))


def exponent_of(largest: Tensor) -> Scalars:
    """Exponent of the spike codes of vectors whose peak is known."""
    return np.frexp(largest.numpy())[1] - (CODE.bits - 1.0)


def encode_(values: Tensor, exponent: Scalars) -> Tensor:
    """Spike codes round(v / 2**exponent), half away from zero, at most 127; int8.

    Values have 24 bits, in float32, and are overwritten. `round_` takes ties to even, so the factor
    is a little more than the power of two, which moves ties away from zero. In float32 it moves
    a quotient by one or two units in the last place, at most 2**-16. That changes nothing else,
    because quotients are multiples of 2**-15 there.
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
    """(values, how many were clipped, their codes, their exponents): `saturate`, then `code`.

    The exponent tells whether there is anything to clip, which saves a pass in most cases.
    """
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
    """The epilogue of golden/units/post.py behind the gain: (vector, saturations).

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
    """What codes -127..127 have (255,), as a table for `of_codes` (256,)."""
    return torch.cat((values.new_zeros(1), values)).roll(CODE.maximum + 1)


def look_up(table: Tensor, index: Tensor) -> Tensor:
    """Elements of a table by integers of any type, in the index's shape."""
    return table.index_select(0, index.to(torch.int32).flatten()).view(index.shape)


def rotary_factors(cosine: np.ndarray, sine: np.ndarray) -> Tensor:
    """The rotary embedding's complex factors (..., d/2), of the device's cosines and sines."""
    return torch.from_numpy((cosine + 1j * sine) * 2.0**-TRIGONOMETRIC_FRACTION)


def rotate_(head: Tensor, factors: Tensor) -> Tensor:
    """Rotary embedding of neighbouring pairs, in place and not saturated.

    head (..., d) in float64, factors (..., d/2) as `rotary_factors` gives it.
    """
    pairs = torch.view_as_complex(head.view(*head.shape[:-1], -1, 2))
    pairs.mul_(factors)                                     # exact: products of integers
    return half_up_(head)
