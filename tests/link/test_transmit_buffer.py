"""The transmit buffer by itself: when a frame that is shorter than the longest can go."""

import cocotb
from cocotb.triggers import ClockCycles, FallingEdge

from hdl.link.transmit_buffer import LINGER_CYCLES, TransmitBuffer
from tests.cocotb_support import run_cocotb, start

WORDS = 3


@cocotb.test()
async def a_short_frame_waits_for_the_line(dut):
    """It is due once no further word came for long, and stays so until it is taken."""
    dut.take.value = dut.heard.value = dut.address.value = 0
    dut.words__valid.value = 0
    await start(dut)
    while not int(dut.words__ready.value):
        await FallingEdge(dut.clk)
    dut.words__valid.value = 1
    await ClockCycles(dut.clk, WORDS)
    dut.words__valid.value = 0
    await FallingEdge(dut.clk)
    cycles = 0
    while not int(dut.due.value):
        cycles += 1
        await FallingEdge(dut.clk)
    assert LINGER_CYCLES <= cycles < LINGER_CYCLES + 9
    for _ in range(3 * LINGER_CYCLES):
        await FallingEdge(dut.clk)
        assert (int(dut.due.value), int(dut.length.value)) == (1, WORDS)
    dut.take.value = 1
    await FallingEdge(dut.clk)
    dut.take.value = 0
    for _ in range(3 * LINGER_CYCLES):
        assert int(dut.due.value) == 0
        await FallingEdge(dut.clk)


def test_transmit_buffer():
    run_cocotb(TransmitBuffer(100_000_000, 64, False), __name__, "transmit_buffer_64")
