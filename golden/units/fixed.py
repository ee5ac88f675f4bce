"""Integer primitives that every unit is made of: rounding shift, saturation, magnitude."""

import numpy as np

from isa.formats import CODE, VECTOR

Integers = np.ndarray


def rshift(value: Integers, shift: Integers) -> Integers:
    """value * 2**-shift, rounded half up; a negative shift shifts left, exactly.

    Element by element on int64. A right shift beyond 62 bits is taken as 62.
    """
    value = np.asarray(value, dtype=np.int64)
    shift = np.asarray(shift, dtype=np.int64)
    right = np.clip(shift, 0, 62)
    left = np.clip(-shift, 0, 62)
    half = np.where(right > 0, np.int64(1) << np.maximum(right - 1, 0), 0)
    return ((value + half) >> right) << left


def saturate(value: Integers, bits: int = VECTOR.bits) -> tuple[Integers, int]:
    """(value clipped to the symmetric range of `bits` bits, how many elements were clipped)."""
    maximum = (1 << (bits - 1)) - 1
    clipped = np.clip(value, -maximum, maximum)
    return clipped, int(np.count_nonzero(clipped != value))


def scale(value: Integers, shift: Integers) -> tuple[Integers, int]:
    """rshift, saturated to the vector format: (values, how many were clipped).

    A left shift beyond 24 bits is taken as 24, where everything but 0 saturates.
    """
    return saturate(rshift(value, np.maximum(shift, -24)))


def bit_length(value: Integers) -> Integers:
    """Bits needed for a non-negative integer below 2**52: 0 for 0, floor(log2) + 1 otherwise."""
    value = np.asarray(value, dtype=np.int64)
    return np.frexp(value.astype(np.float64))[1].astype(np.int64)


def magnitude(values: Integers) -> int:
    """The OR of all |v|, which the hardware accumulates while a vector is written.

    Its bit length is that of the absolute maximum.
    """
    return int(np.bitwise_or.reduce(np.abs(np.asarray(values, dtype=np.int64)), initial=0))


def code_exponent(magnitude_or: int) -> int:
    """The exponent of a vector's spike codes, -7..17, from its `magnitude`."""
    return int(magnitude_or).bit_length() - (CODE.bits - 1)


def encode(values: Integers, exponent: int) -> Integers:
    """Spike codes of a vector at one exponent: round(v / 2**exponent), half away from zero.

    With the exponent of `code_exponent`, 128 is reached by rounding up only; it is cut to 127.
    """
    values = np.asarray(values, dtype=np.int64)
    code = np.minimum(rshift(np.abs(values), exponent), CODE.maximum)
    return np.where(values < 0, -code, code)
