"""The bench of hdl.units.fire.norm: sums of squares of every size under random constants."""

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from golden.units.functions import default_tables
from golden.units.norm import NormConstants, norm_scalar
from hdl.lib.shapes import scalar_layout, settings_layout
from hdl.units.fire.squares import squares_layout
from isa.formats import RSQRT_ENTRIES
from isa.packets import Space
from tests.cocotb_support import STALLS, check_streams, generator, pack, start


def _codes(rng) -> np.ndarray:
    """Codes of a vector: from silence to the most that a count of 18 bits can hold."""
    count = 1 << rng.randrange(19)
    peak = rng.choice([0, 1, 2, 16, 127])
    return np.array([peak] * (count - 1) + [rng.randint(-127, 127)])


def _constants(rng) -> NormConstants:
    return NormConstants(
        mean_mantissa=rng.choice([rng.randint(128, 255), rng.getrandbits(8)]),
        mean_shift=rng.choice([rng.randrange(64), rng.randrange(4, 20)]),
        epsilon_mantissa=rng.choice([0, rng.randint(128, 255)]),
        epsilon_shift=rng.choice([rng.randint(-128, 127), rng.randint(-30, 12)]),
    )


@cocotb.test()
async def scalars(dut):
    await start(dut)
    rng, tables, edge = generator("norm"), default_tables(), RisingEdge(dut.clk)
    for space, address, data in (
        *((Space.RSQRT, a, int(tables.rsqrt[a])) for a in range(RSQRT_ENTRIES)),
        (Space.RECIPROCAL, 70, 1), (Space.SILU, 200, 2),
    ):  # fmt: skip
        dut.tables__enable.value = 1
        dut.tables__space.value = int(space)
        dut.tables__address.value = address
        dut.tables__data.value = data
        await edge
    dut.tables__enable.value = 0
    edges = [
        NormConstants(255, 0, 255, -128), NormConstants(128, 63, 0, 127),
        NormConstants(0, 0, 0, 0), NormConstants(171, 9, 215, 3),
    ]  # fmt: skip
    for number in range(60):
        constants = edges[number] if number < len(edges) else _constants(rng)
        fields = {
            "mean_mantissa": constants.mean_mantissa, "mean_shift": constants.mean_shift,
            "epsilon_mantissa": constants.epsilon_mantissa,
            "epsilon_shift": constants.epsilon_shift,
        }  # fmt: skip
        dut.settings.value = pack(settings_layout(), fields)
        inputs, outputs = [], []
        for _ in range(12):
            codes, exponent = _codes(rng), rng.randint(-7, 17)
            total = int(np.sum(codes.astype(np.int64) ** 2))
            mantissa, power = norm_scalar(codes, exponent, constants, tables)
            inputs.append({"sum": total, "exponent": exponent})
            outputs.append({"mantissa": mantissa, "exponent": power})
        stalls = STALLS[number % len(STALLS)]
        await check_streams(
            dut, {"squares": (squares_layout(), inputs)}, {"scalar": (scalar_layout(), outputs)},
            stalls,
        )  # fmt: skip
