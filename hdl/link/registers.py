"""The register block: settings that the host writes, identity and counters that it reads."""

from functools import reduce
from operator import or_

from amaranth.hdl import Array, Module, Mux, Signal, signed, unsigned
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import Component, In, Out

from hdl.lib.shapes import settings_layout, table_write
from isa.configurations import Configuration
from isa.contents import EMPTY, Contents
from isa.packets import Space
from isa.registers import (
    CONTRACT_VERSION,
    COUNTERS,
    EXTERNAL_SETTINGS,
    IDENTITY,
    IDENTITY_MAGIC,
    SETTINGS,
    Register,
)

INCREMENT_BITS = 16  # largest increment of a counter in one cycle
GROUP_BITS = 3  # registers that one step of reading chooses from
GROUP = 1 << GROUP_BITS


def increments_layout() -> StructLayout:
    """What each counter adds in this cycle."""
    return StructLayout({r.name: unsigned(INCREMENT_BITS) for r in COUNTERS})


class RegisterBlock(Component):
    """32-bit registers. Settings follow a write WRITE_LATENCY cycles later; `data` comes
    READ_LATENCY cycles after `address`. A setting reads as it was written when it fits its width;
    unused addresses read 0.

    Counters add `increments` every cycle (seen WRITE_LATENCY cycles later) and wrap at 2**32;
    writing any value to a counter's address clears it, as late as a setting follows. Settings begin
    with those of `contents`, whose identity is that of the image until `overwritten`.
    """

    WRITE_LATENCY = 2
    READ_LATENCY = 2

    def __init__(self, c: Configuration, contents: Contents = EMPTY) -> None:
        self.c, self.contents = c, contents
        super().__init__(
            {
                "tables": In(table_write()),
                "settings": Out(settings_layout(), init=dict(contents.settings)),
                "increments": In(increments_layout()),
                "overwritten": In(1),
                "address": In(8),
                "data": Out(32),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # Each register decides whether a write is for it, a cycle before the write is done.
        write, written = Signal(), Signal(32, reset_less=True)
        m.d.comb += write.eq(self.tables.enable & (self.tables.space == Space.REGISTER))
        m.d.sync += written.eq(self.tables.data)

        def chosen(r: Register) -> Signal:
            found = Signal(name=f"write_{r.name}")
            m.d.sync += found.eq(write & (self.tables.address == r.address))
            return found

        present = [r for r in SETTINGS if r.name not in EXTERNAL_SETTINGS or self.c.external_words]
        for r in present:
            with m.If(chosen(r)):
                m.d.sync += self.settings[r.name].eq(written)
        counts = {r.name: Signal(32, name=f"count_{r.name}") for r in COUNTERS}
        for r in COUNTERS:
            # Increments come late in their cycle: they are added in the next one.
            step = Signal(INCREMENT_BITS, name=f"step_{r.name}")
            m.d.sync += [
                step.eq(self.increments[r.name]),
                counts[r.name].eq(counts[r.name] + step),
            ]
            with m.If(chosen(r)):
                m.d.sync += counts[r.name].eq(0)
        kept = Signal(init=1, reset_less=True)  # a reset does not bring back what was overwritten
        with m.If(self.overwritten):
            m.d.sync += kept.eq(0)
        fixed = dict(
            magic=IDENTITY_MAGIC,
            contract=CONTRACT_VERSION,
            configuration=self.c.identity,
            image=Mux(kept, self.contents.identity, 0) if self.contents.identity else 0,
        )
        values = {r.address: fixed[r.name] for r in IDENTITY}
        values |= {r.address: counts[r.name] for r in COUNTERS}
        for r in present:
            extended = Signal(signed(32) if r.signed else unsigned(32), name=f"read_{r.name}")
            m.d.comb += extended.eq(self.settings[r.name])
            values[r.address] = extended
        self._read(m, values)
        return m

    def _read(self, m: Module, values: dict) -> None:
        """`data`: each group of eight chooses one of its registers in the first cycle; in the
        second one of the groups is chosen."""
        groups = {address >> GROUP_BITS for address in values}
        found = []
        for number in sorted(groups):
            group = Signal(32, name=f"read_group_{number}", reset_less=True)
            here = Signal(name=f"reads_group_{number}", reset_less=True)
            neighbours = Array(values.get(number << GROUP_BITS | i, 0) for i in range(GROUP))
            m.d.sync += [
                group.eq(neighbours[self.address[:GROUP_BITS]]),
                here.eq(self.address[GROUP_BITS:] == number),
            ]
            found.append(Mux(here, group, 0))
        data = Signal(32, reset_less=True)
        m.d.sync += data.eq(reduce(or_, found))
        m.d.comb += self.data.eq(data)
