"""Program memory."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, unsigned
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from hdl.lib.shapes import table_write
from isa.configurations import Configuration
from isa.instructions import INSTRUCTION_BITS, INSTRUCTION_LINK_WORDS
from isa.packets import Space


class ProgramMemory(Component):
    """The program: one instruction a word, written by the link loader 32 bits at a time.

    `instruction` belongs to the `address` of the last cycle with `enable`. A write beyond the end
    is dropped. `init`: entries (isa.contents) at power-on.
    """

    def __init__(self, c: Configuration, init: Sequence[int] = ()) -> None:
        self.depth = c.program_depth
        self.init = [entry & ((1 << INSTRUCTION_BITS) - 1) for entry in init]
        super().__init__(
            {
                "tables": In(table_write()),
                "address": In(range(c.program_depth)),
                "enable": In(1),
                "instruction": Out(INSTRUCTION_BITS),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.memory = memory = Memory(
            shape=unsigned(INSTRUCTION_BITS), depth=self.depth, init=self.init
        )
        write = memory.write_port(granularity=32)
        read = memory.read_port()
        words = INSTRUCTION_BITS // 32
        # An instruction takes a power of two of link words; those beyond its bits are dropped.
        select_bits = INSTRUCTION_LINK_WORDS.bit_length() - 1
        select = self.tables.address[:select_bits]
        entry = self.tables.address[select_bits:]
        m.d.comb += [
            read.addr.eq(self.address),
            read.en.eq(self.enable),
            self.instruction.eq(read.data),
            write.addr.eq(entry),
            write.data.eq(Cat(self.tables.data for _ in range(words))),
        ]
        mine = self.tables.space == Space.PROGRAM
        with m.If(self.tables.enable & mine & (entry < self.depth)):
            m.d.comb += write.en.eq((1 << select)[:words])
        return m
