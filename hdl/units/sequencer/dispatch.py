"""Fetches the program's instructions in order and hands each to its unit's queue."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hdl.lib.shapes import table_write
from hdl.units.sequencer.program import ProgramMemory
from hdl.units.sequencer.units import OPCODES, UNITS
from isa.configurations import Configuration
from isa.instructions import CONTROL, INSTRUCTION_BITS, RECORDS, Opcode


class Dispatch(Component):
    """Runs the program once after each `restart`, one instruction a cycle while queues take them.

    `restart` may last; the first instruction is pushed LATENCY cycles after its last cycle. With
    `nothing`, no instruction is. `ended`: the program is at its end in this cycle (END, the last
    word of program memory, an opcode that is none, or HEAD unless `runs_head`), and stays there
    until the next `restart`. Where the last word of the memory ends it, `ended` lasts a cycle.
    """

    LATENCY = 2  # program memory, and a register for the instruction and where it goes

    def __init__(self, c: Configuration, program: Sequence[int] = ()) -> None:
        self.c, self._program = c, program
        streams = {unit: stream.Signature(unsigned(RECORDS[OPCODES[unit]].bits)) for unit in UNITS}
        super().__init__(
            {
                "tables": In(table_write()),
                "restart": In(1),
                "nothing": In(1),
                "runs_head": In(1),
                "ended": Out(1),
                **{unit: Out(signature) for unit, signature in streams.items()},
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.program = program = ProgramMemory(self.c, self._program)
        connect(m, flipped(self.tables), program.tables)
        # Two stages that move together: what memory gives (`fetched`), and what is dispatched
        # (`instruction`), with flags that say what the latter is.
        address = Signal(range(self.c.program_depth))  # of what is fetched next
        fetched, fetched_last = Signal(), Signal()
        instruction, instruction_last = Signal(INSTRUCTION_BITS), Signal()
        goes_to = {unit: Signal(name=f"goes_to_{unit}") for unit in UNITS}
        passes = Signal()  # a HEAD behind which the token goes on
        ends = Signal()  # a HEAD behind which it does not, END, or an opcode that is none
        none = Signal(init=1)
        advance = Signal()
        m.d.comb += [
            program.address.eq(Mux(self.restart, 0, address)),
            program.enable.eq(self.restart | advance),
            advance.eq(
                Cat(*(goes_to[unit] & getattr(self, unit).ready for unit in UNITS), passes, none)
                .any()
            ),
            self.ended.eq(ends | (advance & instruction_last)),
        ]
        for unit in UNITS:
            queue = getattr(self, unit)
            m.d.comb += [
                queue.payload.eq(instruction[: len(queue.payload)]),
                queue.valid.eq(goes_to[unit]),
            ]

        with m.If(self.restart):
            m.d.sync += [address.eq(1), fetched.eq(~self.nothing), fetched_last.eq(0)]
        with m.Elif(advance):
            m.d.sync += [
                address.eq(address + 1),
                fetched.eq(fetched & ~fetched_last),
                fetched_last.eq(address == self.c.program_depth - 1),
            ]
        opcode = CONTROL.layout()(program.instruction[: CONTROL.bits]).opcode
        is_head = opcode == Opcode.HEAD
        with m.If(self.restart | (advance & ~fetched)):
            m.d.sync += [flag.eq(0) for flag in (*goes_to.values(), passes, ends)]
            m.d.sync += none.eq(1)
        with m.Elif(advance):
            m.d.sync += [
                *(goes_to[unit].eq(opcode == OPCODES[unit]) for unit in UNITS),
                passes.eq(is_head & self.runs_head),
                ends.eq(
                    (is_head & ~self.runs_head)
                    | ~opcode.matches(Opcode.HEAD, *OPCODES.values())
                ),
                none.eq(0),
            ]
        with m.If(advance):
            m.d.sync += [
                instruction.eq(program.instruction),
                instruction_last.eq(fetched & fetched_last),
            ]
        return m
