"""Post unit, the epilogue: requantises accumulators and adds what is to be added.

    y1 = saturate(rshift(acc * gain, drop))            requantisation, by output or one for all
    y2 = scale(y1 * mantissa, shift)                   the scalar: 1/rms, 1/sum or unity
    y3 = saturate(y2 + bias)                           where there is a bias
    y4 = saturate(y3 + residual)                       where there is a residual

`scale` shifts left by at most 24 bits; `shift` may differ for each element (key exponents).
"""

import numpy as np

from golden.units.fixed import rshift, saturate, scale


def post(
    accumulators: np.ndarray,
    gain: np.ndarray | int,
    drop: np.ndarray | int,
    mantissa: int,
    shift: np.ndarray | int,
    bias: np.ndarray | None = None,
    residual: np.ndarray | None = None,
) -> tuple[np.ndarray, int]:
    """(vector, number of saturated results over all four steps)."""
    y, clipped = saturate(rshift(np.asarray(accumulators, dtype=np.int64) * gain, drop))
    y, more = scale(y * mantissa, shift)
    clipped += more
    for addend in (bias, residual):
        if addend is not None:
            y, more = saturate(y + np.asarray(addend, dtype=np.int64))
            clipped += more
    return y, clipped
