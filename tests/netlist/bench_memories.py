"""The bench of memories: random reads and writes at all of them at once, each against a list."""

import random

import cocotb
from cocotb.triggers import RisingEdge

from tests.cocotb_support import generator, start
from tests.netlist.memories import LANES, MEMORIES, PLAIN, Shape, contents


class _Rows:
    def __init__(self, shape: Shape) -> None:
        self.shape, self.rows = shape, contents(shape)
        self.shown: list[int | None] = [None] * shape.readers

    def cycle(self, write: int, enables: int, value: int, reads: tuple[int, int], on: int) -> None:
        shape = self.shape
        old = list(self.rows)
        if not shape.rom:
            for lane in range(shape.width // shape.lane):
                if enables >> lane & 1:
                    ones = ((1 << shape.lane) - 1) << lane * shape.lane
                    row = self.rows[write % shape.used]
                    self.rows[write % shape.used] = row & ~ones | value & ones
        for reader in range(shape.readers):
            if on:
                seen = self.rows if shape.transparent else old
                self.shown[reader] = seen[reads[reader] % shape.used]


@cocotb.test()
async def reads_and_writes(dut):
    """Initial contents, writes by lanes, reads that meet writes: old or new, as declared."""
    await start(dut)
    assert int(dut.plain.value) == PLAIN, "a register without reset has its initial value"
    rng, edge = generator("memories"), RisingEdge(dut.clk)
    memories = [_Rows(shape) for shape in MEMORIES]
    pool = [rng.getrandbits(14) for _ in range(6)]
    before = None
    dut.read_enable.value = dut.write_enable.value = 0
    await edge
    for cycle in range(1500):
        few = cycle >= 700
        write, *reads = ((rng.choice(pool) if few else rng.getrandbits(14)) for _ in range(3))
        enables = rng.getrandbits(LANES) if cycle >= 300 and rng.random() < 0.6 else 0
        inputs = (write, enables, rng.getrandbits(36), tuple(reads), int(rng.random() < 0.8))
        dut.write_address.value, dut.write_enable.value, dut.data.value = inputs[:3]
        dut.read_address_0.value, dut.read_address_1.value = reads
        dut.read_enable.value = inputs[4]
        await edge  # the memories take the inputs of the cycle before here
        if before is not None:
            for number, memory in enumerate(memories):
                for reader, wanted in enumerate(memory.shown):
                    got = int(getattr(dut, f"out_{number}_{reader}").value)
                    assert wanted in (None, got), (
                        f"cycle {cycle}, memory {number}, reader {reader}: expected {wanted:#x}, "
                        f"got {got:#x}; {memory.shape}"
                    )
        for memory in memories:
            memory.cycle(*inputs)
        before = inputs


@cocotb.test()
async def clears(dut):
    """A register behind a memory, cleared in some cycles."""
    await start(dut)
    rng, edge, wanted = random.Random(1), RisingEdge(dut.clk), None
    rows = contents(Shape(width=18, depth=512))
    for _ in range(100):
        address, clear = rng.randrange(512), rng.getrandbits(1)
        dut.address.value, dut.clear.value = address, clear
        await edge
        assert wanted in (None, int(dut.out.value)), f"expected {wanted}, got {dut.out.value}"
        wanted = 0 if clear else rows[address]
