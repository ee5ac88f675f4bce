"""The bench of hdl.memory.sdram: random bursts on the controller, with its chip's rules checked."""

from dataclasses import replace

import cocotb
from amaranth.hdl import Cat, Module
from amaranth.lib.wiring import Component, In, Out, connect, flipped
from cocotb.triggers import ClockCycles, RisingEdge

from hdl.memory.external_port import burst_layout, memory_port
from hdl.memory.sdram import SdramController
from hdl.memory.sdram_pins import PinRegisters
from hdl.memory.sdram_timing import SDRAM_32MB, SdramTiming
from sim.sdram import SdramModel
from tests.cocotb_support import Sink, Source, cycle, generator, parameters, start

SLOW = SdramTiming("4M x 16", row_bits=12, column_bits=8, t_rcd=30.0, t_rp=30.0, t_ras=60.0,
                   t_rc=90.0, t_rfc=90.0, t_wr=30.0, cas_latency=2)  # fmt: skip
"""Smaller and slower than any chip that a board of ours has."""
CHIPS = {t.name: replace(t, power_up=10_000.0)  # a short wait: simulation takes long
         for t in (SDRAM_32MB, SLOW)}  # fmt: skip
"""Chips by their names, which are the parameter `chip` of the tests."""


def signals(t: SdramTiming) -> dict[str, int]:
    """The chip's pins and their widths."""
    return dict(cke=1, ras_n=1, cas_n=1, we_n=1, bank=t.bank_bits, address=t.row_bits, dqm=2,
                data=16, drive=1)  # fmt: skip


class PackedController(Component):
    """The controller and its pin registers; what the chip gets is one port, read once a cycle."""

    def __init__(self, chip: str, clock_hz: float) -> None:
        self.timing = CHIPS[chip]
        self.controller = SdramController(self.timing, clock_hz)
        super().__init__({
            "memory": In(memory_port(self.controller.bits)), "flush": In(1),
            "pins": Out(sum(signals(self.timing).values())), "data_in": In(16),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        m.submodules.controller = controller = self.controller
        m.submodules.registers = registers = PinRegisters(self.timing)
        connect(m, flipped(self.memory), controller.memory)
        connect(m, controller.sdram, registers.controller)
        chip = registers.chip
        m.d.comb += [
            controller.flush.eq(self.flush),
            self.pins.eq(Cat(*(getattr(chip, name) for name in list(signals(self.timing))[:-2]),
                             chip.data_out, chip.data_enable)),
            chip.data_in.eq(self.data_in),
        ]
        return m


class Bench:
    """Controller, chip and what the chip must hold."""

    def __init__(self, dut, stalls) -> None:
        p = parameters()
        self.dut, self.rng = dut, generator(f"sdram {stalls}")
        self.timing = CHIPS[p["chip"]]
        self.chip = SdramModel(self.timing, p["clock_hz"])
        self.row = 1 << self.timing.column_bits - 1  # words of a row
        self.words: dict[int, int] = {}
        cocotb.start_soon(self._clock())
        idle, stall = stalls
        bits = (self.timing.words - 1).bit_length()
        self.requests = Source(dut, "memory__request", burst_layout(bits), idle)
        self.data = Source(dut, "memory__write", 32, idle)
        self.sink = Sink(dut, "memory__read", 32, stall)

    async def _clock(self) -> None:
        edge, packed, bus = RisingEdge(self.dut.clk), self.dut.pins, self.dut.data_in
        widths = signals(self.timing)
        while True:
            await edge
            bits, pins = int(packed.value), {}
            for name, width in widths.items():
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


def around(bench: Bench) -> int:
    """Where rows, banks and the memory begin and end, and anywhere."""
    rng, row, words = bench.rng, bench.row, bench.timing.words
    near = rng.choice([0, row, 4 * row, 8 * row, rng.randrange(words // row) * row, words - 600])
    return min(max(0, near + rng.randrange(-8, 300)), words - 1)


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
            address = around(bench)
            length = min(rng.choice([1, 1, 2, 7, 40, bench.row + 3]), bench.timing.words - address)
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
    row = bench.row
    count, first = 12 * row, 3 * row + 17
    words = [bench.rng.getrandbits(32) for _ in range(count)]
    await bench.write(first, words)
    write_cycles = bench.data.cycles[-1] - bench.data.cycles[0]
    began = cycle()
    # Bursts that go on where the last one ended: no cycle is lost between them either.
    expected = bench.read(first, 5 * row) + bench.read(first + 5 * row, 7 * row)
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
    interval = bench.timing.refresh_interval * parameters()["clock_hz"] / 1e9  # cycles
    print(f"{late} gaps in {count} words, the longest {max(gaps)} cycles")
    assert late <= read_cycles / (4 * interval) + 1
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
