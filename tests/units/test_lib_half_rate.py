"""The half-rate register: every word once, in order, none after a clear."""

import cocotb
import pytest
from cocotb.triggers import ClockCycles, RisingEdge

from hdl.lib.half_rate import HalfRateRegister
from tests.cocotb_support import STALLS, Sink, Source, check_streams, generator, run_cocotb, start

WORDS = 300


@cocotb.test()
async def every_word_once(dut):
    """Whatever the stalls."""
    rng = generator("half rate")
    dut.clear.value = 0
    await start(dut)
    for stalls in STALLS:
        words = [rng.getrandbits(32) for _ in range(WORDS)]
        await check_streams(dut, {"i": (32, words)}, {"o": (32, words)}, stalls)


@cocotb.test()
async def interval(dut):
    dut.clear.value = 0
    await start(dut)
    source, sink = Source(dut, "i", 32), Sink(dut, "o", 32)
    await source.send(list(range(WORDS)))
    assert await sink.receive(WORDS) == list(range(WORDS))
    assert sink.cycles[-1] - sink.cycles[0] == HalfRateRegister.INTERVAL * (WORDS - 1)
    source.stop()
    sink.stop()


@cocotb.test()
async def a_clear_empties_it(dut):
    """From the cycle after a clear began on it offers and takes nothing; then it goes on, and what
    it took before the clear never comes out."""
    rng = generator("clear")
    dut.clear.value = 0
    await start(dut)
    number, held, cleared = 0, [], False
    dut.i__valid.value = dut.o__ready.value = 0
    for _ in range(5000):
        await RisingEdge(dut.clk)
        valid, ready = dut.o__valid.value == 1, dut.i__ready.value == 1
        assert not (valid and ready)
        if cleared:
            assert not valid and not ready
            held = []
        if valid:
            assert held == [int(dut.o__payload.value)]
            if dut.o__ready.value == 1:
                held = []
        if ready and dut.i__valid.value == 1:
            assert not held
            held = [number]
        cleared = dut.clear.value == 1
        number += 1
        dut.i__payload.value = number
        dut.i__valid.value = int(rng.random() < 0.7)
        dut.o__ready.value = int(rng.random() < 0.4)
        dut.clear.value = int(rng.random() < (0.6 if cleared else 0.1))
    dut.clear.value = dut.i__valid.value = 0
    await ClockCycles(dut.clk, 3)


def test_half_rate_register():
    run_cocotb(HalfRateRegister(32), __name__, "half_rate_register",
               testcase=["every_word_once", "a_clear_empties_it"])  # fmt: skip


@pytest.mark.cycles
def test_half_rate_register_cycles():
    run_cocotb(HalfRateRegister(32), __name__, "half_rate_register", testcase="interval")
