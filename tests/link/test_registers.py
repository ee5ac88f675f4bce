"""The register block against a model, cycle by cycle: settings, identity, counters."""

from collections import deque

import cocotb
import pytest
from cocotb.triggers import ClockCycles, RisingEdge

from hdl.lib.shapes import settings_layout
from hdl.link.registers import INCREMENT_BITS, RegisterBlock, increments_layout
from isa.configurations import Configuration, configuration
from isa.packets import Space
from isa.registers import (
    CONTRACT_VERSION,
    COUNTERS,
    EXTERNAL_SETTINGS,
    IDENTITY,
    IDENTITY_MAGIC,
    SETTINGS,
)
from tests.cocotb_support import generator, pack, parameters, run_cocotb, start, unpack

CYCLES = 8000


class Model:
    """Settings, counters, the increments and the write that are not done yet."""

    def __init__(self, c: Configuration) -> None:
        identities = (IDENTITY_MAGIC, CONTRACT_VERSION, c.identity, 0)
        self.fixed = {r.address: value for r, value in zip(IDENTITY, identities, strict=True)}
        self.present = [r for r in SETTINGS
                        if c.external_words or r.name not in EXTERNAL_SETTINGS]  # fmt: skip
        self.settings = {r.name: 0 for r in SETTINGS}
        self.counts = {r.name: 0 for r in COUNTERS}
        self._steps = dict(self.counts)
        self._write: tuple[int, int] | None = None

    def read(self, address: int) -> int:
        for r in SETTINGS:
            if r.address == address:
                return self.settings[r.name] & 0xFFFFFFFF
        for r in COUNTERS:
            if r.address == address:
                return self.counts[r.name]
        return self.fixed.get(address, 0)

    def step(self, write: tuple[int, int] | None, increments: dict[str, int]) -> None:
        """One cycle: `write` is (address, data), done in the next one."""
        write, self._write = self._write, write
        for name, step in self._steps.items():
            self.counts[name] = self.counts[name] + step & 0xFFFFFFFF
        self._steps = increments
        for r in self.present:
            if write is not None and r.address == write[0]:
                value = write[1] & ((1 << r.bits) - 1)
                negative = r.signed and value >> (r.bits - 1)
                self.settings[r.name] = value - (negative << r.bits)
        for r in COUNTERS:
            if write is not None and r.address == write[0]:
                self.counts[r.name] = 0


@cocotb.test()
async def every_cycle(dut):
    """Random writes, reads and increments in every cycle; what is of another space is ignored."""
    await start(dut)
    rng, model = generator("registers"), Model(configuration(parameters()["name"]))
    addresses = [r.address for r in (*SETTINGS, *IDENTITY, *COUNTERS)]
    reads: deque[int | None] = deque([None] * (RegisterBlock.READ_LATENCY + 1))
    write, increments = None, {r.name: 0 for r in COUNTERS}
    for _ in range(CYCLES):
        await RisingEdge(dut.clk)
        wanted = reads.popleft()
        assert wanted is None or int(dut.data.value) == wanted
        got = unpack(settings_layout(), int(dut.settings.value))
        assert got == model.settings
        model.step(write, increments)
        if rng.random() < 0.3:
            space = rng.choice((Space.REGISTER, Space.REGISTER, rng.choice(list(Space))))
            address = rng.choice((rng.choice(addresses), rng.getrandbits(16)))
            write = (address, rng.getrandbits(32)) if space == Space.REGISTER else None
            dut.tables__space.value = int(space)
            dut.tables__address.value = address
            dut.tables__data.value = rng.getrandbits(32) if write is None else write[1]
            dut.tables__enable.value = 1
        else:
            write = None
            dut.tables__enable.value = 0
            dut.tables__address.value = rng.choice(addresses)
        busy = rng.choice((0, 1, 1 << INCREMENT_BITS - 1))
        increments = {r.name: rng.randint(0, busy) for r in COUNTERS}
        dut.increments.value = pack(increments_layout(), increments)
        address = rng.choice((rng.choice(addresses), rng.getrandbits(8)))
        dut.address.value = address
        reads.append(model.read(address))


@cocotb.test()
async def counters_wrap(dut):
    """At 2**32; and an increment is seen in the counter WRITE_LATENCY cycles later."""
    dut.increments.value = 0  # they count from the first cycle after the reset
    await start(dut)
    step, cycles = (1 << INCREMENT_BITS) - 1, (1 << 16) + 3
    dut.tables__enable.value = 0
    dut.address.value = COUNTERS[-1].address
    dut.increments.value = pack(increments_layout(), {COUNTERS[-1].name: step})
    await ClockCycles(dut.clk, cycles)
    dut.increments.value = 0
    await ClockCycles(dut.clk, RegisterBlock.WRITE_LATENCY + RegisterBlock.READ_LATENCY + 1)
    assert int(dut.data.value) == step * cycles & 0xFFFFFFFF
    assert step * cycles >> 32


@pytest.mark.parametrize("name", ["tiny", "tiny_sdram"])
def test_registers(name):
    """Settings of external memory are there where the memory is."""
    run_cocotb(RegisterBlock(configuration(name)), __name__, f"registers_{name}", {"name": name})
