"""The bench of hdl.memory.sdram: random bursts on the controller, with its chip's rules checked."""

from dataclasses import replace

import cocotb
from amaranth.hdl import Cat, Module
from amaranth.lib.wiring import Component, In, Out, connect, flipped
from cocotb.triggers import ClockCycles, RisingEdge

from hdl.memory.external import burst_layout, memory_port
from hdl.memory.sdram import SdramController
from hdl.memory.sdram_pins import PinRegisters
from hdl.memory.sdram_timing import SDRAM_32MB
from sim.sdram import SdramModel
from tests.cocotb_support import Sink, Source, cycle, generator, parameters, start

CHIP = replace(SDRAM_32MB, power_up=10_000.0)  # a short wait: simulation takes long
SIGNALS = dict(cke=1, ras_n=1, cas_n=1, we_n=1, bank=2, address=13, dqm=2, data=16, drive=1)
WORDS = SDRAM_32MB.words
ROW = 1 << SDRAM_32MB.column_bits - 1  # words of a row


class PackedController(Component):
    """The controller and its pin registers; what the chip gets is one port, read once a cycle."""

    def __init__(self, clock_hz: float) -> None:
        self.controller = SdramController(CHIP, clock_hz)
        super().__init__({
            "memory": In(memory_port(self.controller.bits)), "flush": In(1),
            "pins": Out(sum(SIGNALS.values())), "data_in": In(16),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        m.submodules.controller = controller = self.controller
        m.submodules.registers = registers = PinRegisters(CHIP)
        connect(m, flipped(self.memory), controller.memory)
        connect(m, controller.sdram, registers.controller)
        chip = registers.chip
        m.d.comb += [
            controller.flush.eq(self.flush),
            self.pins.eq(Cat(*(getattr(chip, name) for name in list(SIGNALS)[:-2]),
                             chip.data_out, chip.data_enable)),
            chip.data_in.eq(self.data_in),
        ]
        return m


class Bench:
    """Controller, chip and what the chip must hold."""

    def __init__(self, dut, stalls) -> None:
        p = parameters()
        self.dut, self.rng = dut, generator(f"sdram {stalls}")
        self.chip = SdramModel(CHIP, p["clock_hz"])
        self.words: dict[int, int] = {}
        cocotb.start_soon(self._clock())
        idle, stall = stalls
        self.requests = Source(dut, "memory__request", burst_layout(23), idle)
        self.data = Source(dut, "memory__write", 32, idle)
        self.sink = Sink(dut, "memory__read", 32, stall)

    async def _clock(self) -> None:
        edge, packed, bus = RisingEdge(self.dut.clk), self.dut.pins, self.dut.data_in
        while True:
            await edge
            bits, pins = int(packed.value), {}
            for name, width in SIGNALS.items():
                pins[name] = bits & (1 << width) - 1
                bits >>= width
            bus.value = self.chip.step(**pins)

    async def write(self, address: int, words: list[int]) -> None:
        self.requests.put([dict(address=address, length=len(words), write=1)])
        for i, word in enumerate(words):
            self.words[address + i] = word
        await self.data.send(words)

    def read(self, address: int, length: int) -> list[int]:
        """Asks for words; what must come."""
        self.requests.put([dict(address=address, length=length, write=0)])
        return [self.words[address + i] for i in range(length)]

    def check(self) -> None:
        assert not self.chip.error, self.chip.error


def around(rng) -> int:
    """Where rows, banks and the memory begin and end, and anywhere."""
    near = rng.choice([0, ROW, 4 * ROW, 8 * ROW, rng.randrange(WORDS // ROW) * ROW, WORDS - 600])
    return min(max(0, near + rng.randrange(-8, 300)), WORDS - 1)


@cocotb.test()
async def random_bursts(dut):
    """Bursts of all lengths anywhere; every word read is the one that was written last."""
    await start(dut)
    stalls = tuple(parameters()["stalls"])
    bench = Bench(dut, stalls)
    rng, expected = bench.rng, []
    regions: list[tuple[int, int]] = []
    for _ in range(parameters()["bursts"]):
        if not regions or rng.random() < 0.4:
            address = around(rng)
            length = min(rng.choice([1, 1, 2, 7, 40, ROW + 3]), WORDS - address)
            await bench.write(address, [rng.getrandbits(32) for _ in range(length)])
            regions.append((address, length))
        else:
            at, length = rng.choice(regions)
            first = rng.randrange(length)
            count = rng.choice([1, length - first, rng.randint(1, length - first)])
            expected += bench.read(at + first, count)
        if rng.random() < 0.1:
            await ClockCycles(dut.clk, 1 + rng.randrange(1500))
    got = await bench.sink.receive(len(expected))
    differs = [i for i, (a, b) in enumerate(zip(got, expected, strict=True)) if a != b]
    assert not differs, f"word {differs[0]} of {len(expected)}: {got[differs[0]]:#x}"
    await bench.sink.silent(100)
    bench.check()
    print(f"{len(expected)} words read, {len(bench.words)} written, "
          f"{bench.chip.refreshes} refreshes")


@cocotb.test()
async def streams_without_gaps(dut):
    """A long burst across rows and banks takes two cycles a word, but for refreshes."""
    await start(dut)
    bench = Bench(dut, (0.0, 0.0))
    count, first = 12 * ROW, 3 * ROW + 17
    words = [bench.rng.getrandbits(32) for _ in range(count)]
    await bench.write(first, words)
    write_cycles = bench.data.cycles[-1] - bench.data.cycles[0]
    began = cycle()
    # Bursts that go on where the last one ended: no cycle is lost between them either.
    expected = bench.read(first, 5 * ROW) + bench.read(first + 5 * ROW, 7 * ROW)
    assert await bench.sink.receive(count) == expected
    read_cycles = bench.sink.cycles[-1] - bench.sink.cycles[0]
    share = 2 * (count - 1) / read_cycles
    print(f"read: {share:.2%} of the peak; written: {2 * (count - 1) / write_cycles:.2%}; first "
          f"word after {bench.sink.cycles[0] - began} cycles")
    assert share >= parameters()["share"]
    assert 2 * (count - 1) / write_cycles >= parameters()["share"]
    # Without the refreshes nothing is lost: the time between most words is exactly two cycles.
    gaps = [b - a for a, b in zip(bench.sink.cycles, bench.sink.cycles[1:], strict=False)]
    late = sum(gap > 2 for gap in gaps)
    print(f"{late} gaps in {count} words, the longest {max(gaps)} cycles")
    assert late <= read_cycles / 600 / 3 + 1
    bench.check()


@cocotb.test()
async def refreshes_when_idle(dut):
    """Without bursts and with a reader that takes nothing the chip is still refreshed."""
    await start(dut)
    bench = Bench(dut, (0.0, 0.0))
    await bench.write(5, list(range(200)))
    bench.sink.stop()
    bench.read(5, 200)
    await ClockCycles(dut.clk, 3_000)
    before = bench.chip.refreshes
    await ClockCycles(dut.clk, 7_000)
    due = 7_000 / parameters()["clock_hz"] / (64e-3 / 8192)
    assert due - 2 <= bench.chip.refreshes - before <= due + 2
    sink = Sink(dut, "memory__read", 32, 0.5)
    assert await sink.receive(200) == list(range(200))
    bench.check()


@cocotb.test()
async def flush_forgets_bursts(dut):
    """After a flush nothing of the old burst comes, and the memory holds what it held."""
    await start(dut)
    bench = Bench(dut, (0.0, 0.0))
    await bench.write(100, list(range(1000)))
    for wait in range(30, 60):
        bench.read(100, 900)
        await ClockCycles(dut.clk, wait)
        dut.flush.value = 1
        await RisingEdge(dut.clk)
        dut.flush.value = 0
        await ClockCycles(dut.clk, 20)
        bench.sink._arrived.clear()
        expected = bench.read(700 + wait, 9)
        assert await bench.sink.receive(9) == expected
    bench.check()
