"""The bench of the block RAM model: random pins at all cells at once, each against plain Python."""

import random

import cocotb
from cocotb.triggers import FallingEdge, RisingEdge, Timer

from tests.cocotb_support import generator, start
from tests.netlist.block_ram import Cell, Pins, PlainBlockRam, cells

WORDS = (0, 1, 2, 255, 256, 511)
PORTS = ("a", "b")


def initial_contents() -> int:
    """64 INITVALs of random bits, the padding too."""
    return random.Random("block RAM contents").getrandbits(64 * 320)


class _Bench:
    def __init__(self, dut, name: str) -> None:
        self.dut, self.rng = dut, generator(name)
        self.cells = cells()
        self.plain = [PlainBlockRam(cell, initial_contents()) for cell in self.cells]
        self.pins = (Pins(), Pins())
        self.clocks = [True, False]

    def drive(self, pool: bool, writing: float, resets: float) -> None:
        rng = self.rng
        words = rng.sample(WORDS, 2)
        meet = rng.random() < 0.3
        for name, pins in zip(PORTS, self.pins, strict=True):
            pins.ad = rng.getrandbits(14)
            if pool:
                pins.ad = rng.choice(words) << 5 | pins.ad & 31
            if pool and meet:  # in the narrowest words too
                pins.ad = self.pins[0].ad
            pins.di = rng.getrandbits(18)
            pins.ce, pins.oce = int(rng.random() < 0.85), int(rng.random() < 0.8)
            pins.we = int(rng.random() < writing)
            pins.rst = int(rng.random() < resets)
            pins.cs = rng.choice((0, 0, 0, 3, 5, 6, 7))
            for field in ("ad", "di", "ce", "oce", "we", "rst", "cs"):
                getattr(self.dut, f"{field}_{name}").value = getattr(pins, field)

    def seen_by(self, cell: Cell) -> tuple[Pins, Pins]:
        """The pins that reach a cell, as test_block_ram_model connects them."""
        a, b = (Pins(**vars(pins)) for pins in self.pins)
        if cell.pseudo:
            a.di, a.we = a.di | b.di << 18, 1
        if cell.kind == "PDPW16KD":
            b.rst = a.rst
        return a, b

    def levels(self, cell: Cell) -> tuple[bool, bool]:
        a, b = self.clocks
        return a, (b != cell.inverted) if cell.split else a

    def clock(self, clocks: tuple[bool, bool]) -> None:
        """Both clocks take these levels."""
        before = [self.levels(cell) for cell in self.cells]
        self.clocks = list(clocks)
        for cell, plain, old in zip(self.cells, self.plain, before, strict=True):
            new = self.levels(cell)
            rose = (new[0] and not old[0], new[1] and not old[1])
            if any(rose):
                plain.edge(self.seen_by(cell), rose)
            plain.level(self.seen_by(cell), new)

    def settled(self) -> None:
        for cell, plain in zip(self.cells, self.plain, strict=True):
            plain.level(self.seen_by(cell), self.levels(cell))

    def compare(self, moment: str) -> None:
        got = [int(self.dut.do_a.value), int(self.dut.do_b.value)]
        for number, (cell, plain) in enumerate(zip(self.cells, self.plain, strict=True)):
            for name, pins, value in zip(PORTS, plain.outputs(), got, strict=True):
                shown = [None if wanted is None else value >> 18 * number + k & 1
                         for k, wanted in enumerate(pins)]  # fmt: skip
                assert shown == pins, f"{moment}, cell {number}, DO{name}: {pins}, {shown}; {cell}"


async def _run(dut, name: str, cycles: int, pool: bool, writing: float, resets: float) -> _Bench:
    """Pins change while the clock is low or high; port B's own clock runs at its own pace."""
    await start(dut)
    bench = _Bench(dut, name)
    dut.clock_b.value = 0
    bench.drive(False, 0.0, 0.0)
    await FallingEdge(dut.clk)
    bench.clock((False, False))
    for cycle in range(cycles):
        bench.drive(pool, writing, resets)
        await Timer(1, "ns")
        bench.settled()
        bench.compare(f"cycle {cycle}, clock low")
        level = bench.clocks[1]
        if bench.rng.random() < 0.5:
            dut.clock_b.value = level = int(not level)
            await Timer(1, "ns")
            bench.clock((False, level))
        together = bench.rng.random() < 0.3
        await RisingEdge(dut.clk)
        if together:
            dut.clock_b.value = level = int(not level)
        await Timer(1, "ns")
        bench.clock((True, level))
        bench.compare(f"cycle {cycle}, clock high")
        if resets and bench.rng.random() < 0.3:
            for port, pins in zip(PORTS, bench.pins, strict=True):
                pins.rst = bench.rng.getrandbits(1)
                getattr(dut, f"rst_{port}").value = pins.rst
            await Timer(1, "ns")
            bench.settled()
            bench.compare(f"cycle {cycle}, reset while the clock is high")
        await FallingEdge(dut.clk)
        bench.clock((False, level))
    return bench


@cocotb.test()
async def initial_values(dut):
    """Reads all over the memory: INITVAL's order, at every width."""
    await _run(dut, "block RAM initial", 200, False, 0.0, 0.0)


@cocotb.test()
async def reads_and_writes(dut):
    """Few words, so that reads meet what was written, and collisions come."""
    bench = await _run(dut, "block RAM writes", 400, True, 0.5, 0.0)
    for cell, plain in zip(bench.cells, bench.plain, strict=True):
        assert cell.split or plain.collisions > 3, (cell, plain.collisions)


@cocotb.test()
async def resets(dut):
    await _run(dut, "block RAM resets", 400, True, 0.4, 0.15)


@cocotb.test()
async def collisions_are_noise(dut):
    """What a read sees of a simultaneous write is neither the old nor the new word."""
    await start(dut)
    number = next(k for k, cell in enumerate(cells())
                  if cell.kind == "DP16KD" and cell.widths == (36, 36)
                  and cell.register_modes[1] == "NOREG")  # fmt: skip
    rng, seen = generator("block RAM collisions"), {"old": 0, "new": 0, "other": 0}
    for field in ("ce", "oce"):
        getattr(dut, f"{field}_a").value = getattr(dut, f"{field}_b").value = 1
    for field in ("cs", "rst", "we"):
        getattr(dut, f"{field}_a").value = getattr(dut, f"{field}_b").value = 0
    old = None
    for _ in range(100):
        new = (rng.getrandbits(18), rng.getrandbits(18))
        dut.di_a.value, dut.di_b.value = new
        dut.ad_a.value, dut.ad_b.value = 0b1111, 0
        await RisingEdge(dut.clk)
        await Timer(1, "ns")
        got = tuple(int(port.value) >> 18 * number & 0x3FFFF for port in (dut.do_a, dut.do_b))
        seen["old" if got == old else "new" if got == new else "other"] += 1
        old = new
    assert seen["other"] == 100, seen
