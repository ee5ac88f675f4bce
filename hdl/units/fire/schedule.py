"""Schedule memory: the steps of all populations, read ahead of the neurons."""

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from hdl.lib.selection import gated, or_mux
from hdl.lib.shapes import table_write
from hdl.lib.table_port import connect_tables
from hdl.memory.style import table_style
from hdl.units.fire.layouts import STEP_BITS
from isa.configurations import Configuration
from isa.contents import EMPTY, Contents
from isa.formats import SCHEDULE_STEPS
from isa.packets import Space
from isa.schedule import STEP


class ScheduleReader(Component):
    """Gives a group's first step, and then always the one behind the step that is under way.

    accept      a group that begins with the entry `start` waits: its `first` entry stands from the
                next cycle on until another one is accepted
    enable      the neurons' clock enable, for what follows
    between     no group's step comes next but the first one of the group that waits: in the next
                cycle `following` is its second one
    advance     a step begins: in the next cycle `following` is the one behind it. Not looked at
                with `between`

    Thresholds are negated, and entry 127 is the last step of its schedule whatever was loaded.
    `between` enables the whole memory's output: a register near it.
    """

    def __init__(self, c: Configuration, contents: Contents = EMPTY) -> None:
        self.c, self._contents = c, contents
        super().__init__(
            {
                "tables": In(table_write()),
                "accept": In(1),
                "start": In(STEP_BITS),
                "first": Out(STEP.layout()),
                "enable": In(1),
                "between": In(1),
                "advance": In(1),
                "following": Out(STEP.layout()),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        memory = self._memory(m)
        first = memory.read_port(transparent_for=())
        m.d.comb += [
            first.addr.eq(self.start),
            first.en.eq(self.accept),
            self.first.eq(first.data),
        ]
        # The memory takes a cycle and `following` another: addresses are two steps ahead.
        second = Signal(STEP_BITS, reset_less=True)  # step of the group that waits
        ahead = Signal(STEP_BITS, reset_less=True)  # the step behind `following`
        with m.If(self.accept):
            m.d.sync += second.eq(self.start + 1)
        moves = Signal()
        m.d.comb += moves.eq(self.enable & (self.advance | self.between))
        with m.If(moves):
            m.d.sync += ahead.eq(ahead + 1)
            with m.If(self.between):
                m.d.sync += ahead.eq(second + 1)
        if self.c.spare_blocks:
            following = memory.read_port(transparent_for=())
            m.d.comb += [
                following.en.eq(moves),
                following.addr.eq(Mux(self.between, second, ahead)),
                self.following.eq(following.data),
            ]
        else:
            m.d.comb += self.following.eq(self._of_tables(m, memory, moves, second, ahead))
        return m

    def _of_tables(self, m: Module, memory: Memory, moves, second, ahead) -> Signal:
        """Look-up tables are read twice and the entry is chosen: were the address chosen, its wire
        to all of them would be longer by a table."""
        following = Signal(STEP.layout().size, reset_less=True)
        at_second, at_ahead = (memory.read_port(domain="comb") for _ in range(2))
        m.d.comb += [at_second.addr.eq(second), at_ahead.addr.eq(ahead)]
        # No multiplexer: Yosys' `share` would make one reading of both, with the address chosen.
        with m.If(moves):
            m.d.sync += following.eq(
                or_mux(gated(at_second.data, self.between), gated(at_ahead.data, ~self.between))
            )
        return following

    def _memory(self, m: Module) -> Memory:
        m.submodules.schedule = schedule = Memory(
            shape=unsigned(STEP.layout().size),
            depth=SCHEDULE_STEPS,
            init=[_stored(*entry) for entry in enumerate(self._contents.of(Space.SCHEDULE))],
            attrs=table_style(self.c.spare_blocks),
        )
        word, entry = Signal(STEP.layout()), Signal(STEP.layout())
        m.d.comb += [
            word.eq(self.tables.data),
            entry.eq(word.as_value()),
            entry.threshold.eq(-word.threshold),
            entry.last.eq(word.last | (self.tables.address == SCHEDULE_STEPS - 1)),
        ]
        connect_tables(m, schedule.write_port(), self.tables, Space.SCHEDULE, entry)
        return schedule


def _stored(address: int, step: int) -> int:
    """A link word of the schedule as the memory keeps it."""
    fields = STEP.unpack(step & ((1 << STEP.bits) - 1))
    fields["threshold"] = -fields["threshold"] % (1 << len(Signal(STEP.layout()).threshold))
    fields["last"] |= address == SCHEDULE_STEPS - 1
    return STEP.pack(**fields)
