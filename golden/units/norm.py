"""RMSNorm's scalar: 1/rms of a coded vector, from the sum of squares of its codes."""

from dataclasses import dataclass

import numpy as np

from golden.units.fixed import rshift
from golden.units.functions import Tables, rsqrt


@dataclass(frozen=True)
class NormConstants:
    """RMSNorm's constants as mantissas and shifts; the mean square has 4 fraction bits.

    mean_mantissa * 2**-mean_shift is about 2**4 / dimension. epsilon_mantissa * 2**-epsilon_shift
    is epsilon * 2**(2 * fraction + 4), in the units of a mean square of codes at exponent 0.
    """

    mean_mantissa: int
    mean_shift: int
    epsilon_mantissa: int
    epsilon_shift: int


def norm_scalar(
    codes: np.ndarray, exponent: int, c: NormConstants, tables: Tables
) -> tuple[int, int]:
    """(mantissa, exponent) of 1/sqrt(mean(code**2) * 16 + epsilon term), exactly as in hardware."""
    squares = int(np.sum(np.asarray(codes, dtype=np.int64) ** 2))
    return scalar_of_squares(squares, exponent, c, tables)


def scalar_of_squares(
    squares: int, exponent: int, c: NormConstants, tables: Tables
) -> tuple[int, int]:
    """The same from the sum of squares that the neuron core gathers.

    The epsilon term is rshift(epsilon_mantissa, epsilon_shift + 2 * exponent): epsilon in the units
    of codes at this exponent (a left shift by at most 24). The sum is cut at 2**32 - 1.
    """
    shift = max(c.epsilon_shift + 2 * exponent, -24)
    mean = int(rshift(squares * c.mean_mantissa, c.mean_shift))
    mean = min(mean + int(rshift(c.epsilon_mantissa, shift)), 2**32 - 1)
    mantissa, e = rsqrt(np.int64(mean), tables)
    return int(mantissa), int(e)
