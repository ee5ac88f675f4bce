"""The bench of hdl.units.fire.encoder: random words at every exponent, one a cycle."""

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from golden.units.fixed import code_exponent, encode, magnitude
from hdl.lib.shapes import codes_layout, word_layout
from hdl.units.fire.encoder import LATENCY, MAXIMUM_EXPONENT, MINIMUM_EXPONENT
from isa.formats import EXPONENT, VECTOR
from tests.cocotb_support import generator, pack, parameters, start, unpack
from tests.units.devices import device


def _word(rng, lanes: int) -> tuple[list[int], int]:
    """A word with values near every rounding border, and an exponent that covers it."""
    exponent = rng.randint(MINIMUM_EXPONENT, MAXIMUM_EXPONENT)
    limit = min((1 << (exponent + 7)) - 1, VECTOR.maximum)
    kind = rng.randrange(4)
    if kind == 0 or exponent < 1:
        values = [rng.randint(-limit, limit) for _ in range(lanes)]
    elif kind == 1:  # halves: round away from zero
        half = 1 << (exponent - 1)
        values = [half + (rng.randint(0, 126) << exponent) for _ in range(lanes)]
        values = [rng.choice([-1, 1]) * min(v + rng.randint(-1, 1), limit) for v in values]
    elif kind == 2:  # 127.5 and above are cut
        values = [rng.choice([-1, 1]) * rng.randint(limit - 2, limit) for _ in range(lanes)]
    else:
        values = [rng.choice([0, 1, -1, limit, -limit]) for _ in range(lanes)]
    return values, max(exponent, code_exponent(magnitude(values)))


@cocotb.test()
async def words_at_every_exponent(dut):
    await start(dut)
    c, rng, edge = device(parameters()["name"]), generator("encoder"), RisingEdge(dut.clk)
    expected, seen = [], set()
    for cycle in range(6000):
        values, exponent = _word(rng, c.vector_lanes)
        mask = rng.getrandbits(c.vector_lanes) | rng.getrandbits(c.vector_lanes)
        seen.add(exponent)
        codes = np.where([mask >> k & 1 for k in range(c.vector_lanes)],
                         encode(values, exponent), 0)  # fmt: skip
        expected.append((values, exponent, list(codes), magnitude(codes)))
        await edge
        if cycle > LATENCY:
            before, at, wanted, peak = expected[cycle - LATENCY - 1]
            got = unpack(codes_layout(c), int(dut.codes.value))
            assert got == wanted, f"{before} at {at}: expected {wanted}, got {got}"
            assert int(dut.peak.value) == peak
        dut.word.value = pack(word_layout(c), values)
        dut.mask.value = mask
        dut.exponent.value = exponent & ((1 << EXPONENT.bits) - 1)
    assert seen == set(range(MINIMUM_EXPONENT, MAXIMUM_EXPONENT + 1))
