"""Parameter, rotation and exponent memories against a dictionary, read and written every cycle."""

from collections import deque

import cocotb
import pytest
from amaranth.hdl import signed
from cocotb.triggers import RisingEdge

from hdl.lib.shapes import exponents_layout, parameter_layout
from hdl.memory.tables import ExponentMemory, PairMemory, parameter_memory
from isa.configurations import configuration
from isa.formats import EXPONENT
from isa.packets import Space
from tests.cocotb_support import generator, pack, parameters, run_cocotb, start, unpack

CYCLES = 6000


async def _exercise(
    dut, depth: int, layout, rng, write, memory: type, takes: bool = False
) -> None:
    """A random write and a random read every cycle, often of a word written just before.

    `write` drives a random write and returns (word, {lane: value}); None where none was driven.
    memory: whose WRITE_LATENCY says from when on a read is promised to see a write; until then its
    word is not promised. takes: nor is what is read in the cycle after a write.
    """
    words = [[None] * layout.length for _ in range(depth)]  # None: not written so far
    compared = 0
    under_way = deque([None] * memory.WRITE_LATENCY)  # writes of the last cycles
    recent = deque([0] * 8, maxlen=8)  # words
    reads = deque([None] * (memory.READ_LATENCY + 1))  # of the last cycles: (word, what it held)
    for _ in range(CYCLES):
        await RisingEdge(dut.clk)
        expected = reads.popleft()
        if expected is not None:
            got = unpack(layout, int(dut.read__data.value))
            known = [(lane, v) for lane, v in enumerate(expected[1]) if v is not None]
            assert [(lane, got[lane]) for lane, _ in known] == known, f"word {expected[0]}"
            compared += len(known)
        done = under_way.popleft()
        if done is not None and done[0] < depth:
            for lane, value in done[1].items():
                words[done[0]][lane] = value
            recent.append(done[0])
        taken = takes and under_way[-1] is not None
        under_way.append(write())
        at = rng.choice(recent) if rng.random() < 0.7 else rng.randrange(depth)
        dut.read__address.value = at
        open_words = [item[0] for item in under_way if item is not None]
        reads.append(None if taken or at in open_words else (at, list(words[at])))
    assert compared > CYCLES


def _near(rng, depth: int) -> int:
    """A word of the memory, now and then one beyond it."""
    return rng.choice((rng.randrange(depth), rng.randrange(16), depth + rng.randrange(depth)))


@cocotb.test()
async def pairs(dut):
    c = configuration(parameters()["configuration"])
    space, layout, depth = Space.PARAMETER, parameter_layout(c), c.parameter_depth
    rng = generator(f"pairs {space.name} {c.name}")
    pairs = c.vector_lanes // 2

    def write():
        enable, named = rng.random() < 0.7, rng.choice((space, space, rng.choice(list(Space))))
        word, pair, data = _near(rng, depth), rng.randrange(pairs), rng.getrandbits(32)
        dut.tables__enable.value = int(enable)
        dut.tables__space.value = int(named)
        dut.tables__address.value = word * pairs + pair
        dut.tables__data.value = data
        if not enable or named is not space:
            return None
        shape = layout.elem_shape
        lanes = {2 * pair + i: data >> 16 * i & ((1 << shape.width) - 1) for i in range(2)}
        return word, {lane: unpack(shape, bits) for lane, bits in lanes.items()}

    await start(dut)
    await _exercise(dut, depth, layout, rng, write, PairMemory)


@cocotb.test()
async def exponents(dut):
    c = configuration(parameters()["configuration"])
    rng = generator(f"exponents {c.name}")
    apart = ExponentMemory.WRITE_LATENCY - 2  # words that a write of the same word has before it
    last = deque([0] * apart, maxlen=apart)

    def write():
        word = last[0]
        while word in last:
            word = rng.randrange(c.exponent_depth)
        enable = rng.random() < 0.4
        last.append(word)
        mask = rng.choice((1 << rng.randrange(c.vector_lanes), rng.getrandbits(c.vector_lanes)))
        exponent = rng.randint(-8, 23)
        dut.enable.value = int(enable)
        dut.address.value = word
        dut.lanes.value = mask
        dut.exponent.value = pack(signed(EXPONENT.bits), exponent)
        if not enable:
            return None
        return word, {lane: exponent for lane in range(c.vector_lanes) if mask >> lane & 1}

    await start(dut)
    layout = exponents_layout(c)
    await _exercise(dut, c.exponent_depth, layout, rng, write, ExponentMemory, takes=True)


@pytest.mark.parametrize("name", ["tiny", "small", "minimal"])
def test_parameter_memory(name):
    component = parameter_memory(configuration(name))
    run_cocotb(component, __name__, f"pairs_{name}", {"configuration": name}, testcase="pairs")


@pytest.mark.parametrize("name", ["tiny", "minimal", "large"])  # of look-up tables, of block RAM
def test_exponent_memory(name):
    component = ExponentMemory(configuration(name))
    values = {"configuration": name}
    run_cocotb(component, __name__, f"exponents_{name}", values, testcase="exponents")
