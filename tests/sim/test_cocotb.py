"""The testbench tools on small components: a FIFO that works and units that break the rules."""

import cocotb
import pytest
from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, fifo, memory, stream, wiring
from amaranth.lib.wiring import In, Out
from cocotb.triggers import ClockCycles

from tests.cocotb_support import (
    STALLS,
    Sink,
    Source,
    check_streams,
    generator,
    pack,
    parameters,
    run_cocotb,
    start,
    unpack,
)


class Pair(data.Struct):
    """A payload with a sign, a nested struct and an array."""

    a: signed(5)
    b: data.StructLayout({"x": 2, "y": data.ArrayLayout(signed(3), 3)})


class Fifo(wiring.Component):
    """Amaranth's buffered FIFO between two streams of `Pair`."""

    i: In(stream.Signature(Pair))
    o: Out(stream.Signature(Pair))

    def __init__(self, depth: int) -> None:
        self.depth = depth
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        width = Pair.as_shape().size
        m.submodules.buffer = buffer = fifo.SyncFIFOBuffered(width=width, depth=self.depth)
        m.d.comb += [
            buffer.w_data.eq(self.i.payload),
            buffer.w_en.eq(self.i.valid),
            self.i.ready.eq(buffer.w_rdy),
            self.o.payload.eq(buffer.r_data),
            self.o.valid.eq(buffer.r_rdy),
            buffer.r_en.eq(self.o.ready),
        ]
        return m


class Wires(wiring.Component):
    """Combinational: no register, ready handed through; and an output without back-pressure."""

    i: In(stream.Signature(signed(8)))
    o: Out(stream.Signature(signed(8)))
    taken: Out(stream.Signature(signed(8), always_ready=True))

    def elaborate(self, platform):
        m = Module()
        m.d.comb += [
            self.o.payload.eq(self.i.payload),
            self.o.valid.eq(self.i.valid),
            self.i.ready.eq(self.o.ready),
            self.taken.payload.eq(self.i.payload),
            self.taken.valid.eq(self.i.valid & self.o.ready),
        ]
        return m


class Restless(wiring.Component):
    """Breaks the stream rule: counts on while its value is not taken."""

    o: Out(stream.Signature(8))

    def elaborate(self, platform):
        m = Module()
        count = Signal(8)
        m.d.sync += count.eq(count + 1)
        m.d.comb += [self.o.payload.eq(count), self.o.valid.eq(1)]
        return m


class Memories(wiring.Component):
    """Two large memories at one address, read a cycle later: all zero, and zero but for row 5."""

    address: In(16)
    zero: Out(64)
    some: Out(64)

    def elaborate(self, platform):
        m = Module()
        for name, init in (("zero", []), ("some", [0, 0, 0, 0, 0, 12345])):
            rows = memory.Memory(shape=64, depth=1 << 16 if name == "zero" else 64, init=init)
            m.submodules[name] = rows
            port = rows.read_port()
            m.d.comb += [port.addr.eq(self.address), getattr(self, name).eq(port.data)]
        return m


def _random_pairs(count: int) -> list[dict]:
    rng = generator("pairs")
    return [unpack(Pair, rng.getrandbits(16)) for _ in range(count)]


@cocotb.test()
async def fifo_passes_everything(dut):
    await start(dut)
    values = _random_pairs(300)
    for stalls in STALLS:
        cycles = await check_streams(dut, {"i": (Pair, values)}, {"o": (Pair, values)}, stalls)
        if stalls == (0.0, 0.0):
            assert cycles["o"][-1] - cycles["o"][0] == len(values) - 1, "one value a cycle"


@cocotb.test()
async def fifo_fills_to_its_depth(dut):
    depth = parameters()["depth"]
    await start(dut)
    sink = Sink(dut, "o", Pair, stall=1.0)
    source = Source(dut, "i", Pair)
    source.put(_random_pairs(3 * depth))
    await sink.silent(4 * depth)
    assert len(source.cycles) == depth


@cocotb.test()
async def wires_pass_everything(dut):
    await start(dut)
    values = list(range(-128, 128))
    expected = {"o": (signed(8), values), "taken": (signed(8), values)}
    for stalls in STALLS:
        await check_streams(dut, {"i": (signed(8), values)}, expected, stalls)


@cocotb.test()
async def sink_with_stalls(dut):
    await start(dut)
    sink = Sink(dut, "o", 8, stall=0.5)
    await sink.receive(100)


@cocotb.test()
async def memories_start_as_declared(dut):
    await start(dut)
    for address in (0, 5, 6, 63, 65535):
        dut.address.value = address
        await ClockCycles(dut.clk, 3)
        assert int(dut.zero.value) == 0
        if address < 64:
            assert int(dut.some.value) == (12345 if address == 5 else 0)


@cocotb.test()
async def loses_one(dut):
    await start(dut)
    values = _random_pairs(20)
    await check_streams(dut, {"i": (Pair, values)}, {"o": (Pair, values[:7] + values[8:])})


@pytest.mark.parametrize("depth", [3, 16])
def test_fifo(depth):
    cases = ["fifo_passes_everything", "fifo_fills_to_its_depth"]
    run_cocotb(Fifo(depth), __name__, f"fifo_{depth}", {"depth": depth}, testcase=cases)


def test_combinational_unit():
    run_cocotb(Wires(), __name__, "wires", testcase="wires_pass_everything")


def test_memories_start_as_declared():
    run_cocotb(Memories(), __name__, "memories", testcase="memories_start_as_declared")


def test_a_broken_stream_rule_fails():
    with pytest.raises(AssertionError, match="was offered and not yet taken, then the payload"):
        run_cocotb(Restless(), __name__, "restless", testcase="sink_with_stalls")


def test_a_wrong_value_fails_and_is_named():
    with pytest.raises(AssertionError, match=r"o\[7\]: expected .* got "):
        run_cocotb(Fifo(16), __name__, "fifo_16", testcase="loses_one")


def test_no_test_run_is_a_failure():
    with pytest.raises(AssertionError, match="no cocotb test ran"):
        run_cocotb(Fifo(16), __name__, "fifo_16", testcase="no_such_test")


def test_waveform(capsys):
    run_cocotb(Wires(), __name__, "wires", testcase="wires_pass_everything", waves=True)
    shown = capsys.readouterr().out.strip().splitlines()[-1]
    assert shown.startswith("waveform: ")
    with open(shown.removeprefix("waveform: ")) as file:
        assert "$enddefinitions" in file.read()


def test_packing():
    value = {"a": -16, "b": {"x": 2, "y": [-4, 3, -1]}}
    bits = pack(Pair, value)
    assert bits == 0b111_011_100_10_10000
    assert unpack(Pair, bits) == value
    assert pack(signed(4), -8) == 8 and unpack(signed(4), 8) == -8
    for shape, wrong in ((signed(4), 8), (4, 16), (4, -1)):
        with pytest.raises(ValueError, match="range"):
            pack(shape, wrong)
