"""The function neurons and RMSNorm's scalar of golden/units, in PyTorch as arithmetic.py has it."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from golden.spiking_model import arithmetic as a
from golden.spiking_model.arithmetic import Scalars
from golden.units.functions import SILU_LIMIT, SILU_SHIFT, Tables, exp2_negative
from golden.units.norm import NormConstants
from isa.formats import (
    EXP2_CLAMP,
    MAXIMUM_LEFT_SHIFT,
    RECIPROCAL_ENTRIES,
    SILU_FRACTION,
    SILU_PIECES,
    SILU_SLOPE_FRACTION,
)


@dataclass(frozen=True)
class TensorTables:
    """The function neurons' tables in floating point.

    Tables that vectors look up are tensors, those of scalars NumPy arrays.
    """

    silu_base: Tensor
    silu_slope: Tensor
    rsqrt: Scalars
    reciprocal: Scalars
    exp2: Tensor  # 2**-t for every t, up to the first from which on it is 0; float32

    @classmethod
    def of(cls, tables: Tables) -> "TensorTables":
        """The same tables as tensors."""
        every = exp2_negative(np.arange(EXP2_CLAMP + 1), tables)
        every = every[:np.flatnonzero(every)[-1] + 2]    # short enough for the first-level cache
        return cls(**{name: torch.tensor(getattr(tables, name), dtype=torch.float64)
                      for name in ("silu_base", "silu_slope")},
                   **{name: getattr(tables, name).astype(np.float64)
                      for name in ("rsqrt", "reciprocal")},
                   exp2=torch.tensor(every, dtype=torch.float32))


def _top8(value: Scalars) -> tuple[np.ndarray, np.ndarray]:
    """(the highest 8 bits, bit length) of positive integers, int32; less than 1 counts as 1."""
    fraction, length = np.frexp(np.maximum(value, 1.0))
    return (fraction * 256).astype(np.int32), length


def rsqrt(value: Scalars, tables: TensorTables) -> tuple[Scalars, Scalars]:
    """(mantissa, exponent) of 1/sqrt(value), 1 <= value < 2**32; 0 counts as 1."""
    top, length = _top8(value)
    return tables.rsqrt[top >> (length & 1)], -7 - (length + 1 >> 1)


def reciprocal(value: Scalars, tables: TensorTables) -> tuple[Scalars, Scalars]:
    """(mantissa, exponent) of 1/value, 1 <= value < 2**32; 0 counts as 1."""
    top, length = _top8(value)
    return tables.reciprocal[top - RECIPROCAL_ENTRIES], -7 - length


def exp2(t: Tensor, tables: TensorTables) -> Tensor:
    """2**-t, t >= 0 with 8 fraction bits -> 15 fraction bits; float32. Overwrites t."""
    return a.look_up(tables.exp2, t.clamp_(max=len(tables.exp2) - 1))


def silu(g: Tensor, fraction: int, tables: TensorTables) -> Tensor:
    """SiLU of vectors with `fraction` <= 12 fraction bits, in the same format."""
    widen = SILU_FRACTION - fraction
    g = a.real(g)
    above = (g * 2.0**widen).clamp_(-SILU_LIMIT, SILU_LIMIT).add_(SILU_LIMIT)
    piece = (above * 2.0**-SILU_SHIFT).to(torch.int32).clamp_(max=SILU_PIECES - 1)
    inside = above.sub_(piece, alpha=1 << SILU_SHIFT).mul_(a.look_up(tables.silu_slope, piece))
    inside = a.rshift(inside, SILU_SLOPE_FRACTION).add_(a.look_up(tables.silu_base, piece))
    y = torch.where(g >= SILU_LIMIT * 2.0**-widen, g, a.rshift(inside, widen) if widen else inside)
    return y.masked_fill_(g < -SILU_LIMIT * 2.0**-widen, 0)


def silu_values(fraction: int, tables: TensorTables) -> Tensor:
    """`silu` of every argument for which it is neither 0 nor the argument itself; float32."""
    limit = SILU_LIMIT >> (SILU_FRACTION - fraction)
    return silu(torch.arange(-limit - 1, limit + 1), fraction, tables).to(torch.float32)


def silu_at_once(g: Tensor, values: Tensor) -> Tensor:
    """`silu` of a vector, looked up in what `silu_values` gives; float32."""
    limit = len(values) // 2 - 1
    index = g.to(torch.int32).add_(limit + 1)
    lowest, highest = index.aminmax()
    if lowest.item() >= 1 and highest.item() < len(values):              # as almost always
        return a.look_up(values, index)
    inside = a.look_up(values, index.clamp_(0, len(values) - 1))
    return inside.add_((g.to(torch.float32) - limit).clamp_(min=0))


def norm_scalar(squares: Scalars, exponent: Scalars, constants: NormConstants,
                tables: TensorTables) -> tuple[Scalars, Scalars]:
    """(mantissa, exponent) of 1/rms from sums of squared codes and their exponents."""
    mean = squares.astype(np.float64)                    # products have more than float32's 24 bits
    mean = np.floor(mean * (constants.mean_mantissa * 2.0**-constants.mean_shift) + 0.5)
    shift = np.maximum(constants.epsilon_shift + 2 * exponent, -MAXIMUM_LEFT_SHIFT)
    epsilon = np.floor(a.factor(constants.epsilon_mantissa, shift) + 0.5)
    return rsqrt(np.minimum(mean + epsilon, 2**32 - 1), tables)
