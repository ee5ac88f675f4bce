"""Memories with one writer and one reader: parameters, exponents."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib.data import ArrayLayout
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In

from hdl.lib.shapes import exponents_layout, parameter_layout, read_port, table_write
from hdl.memory.style import style
from isa.configurations import Configuration
from isa.formats import EXPONENT
from isa.packets import Space

_STORED_BITS, _STORED_OFFSET = 5, 8  # of an exponent: its memories are look-up tables


class PairMemory(Component):
    """V elements a word, written two at a time from link words (16 bits each, the low bits kept).

    tables.address counts link words: V / 2 a memory word; a write beyond the end is dropped. Read
    latency one cycle; what is read in the cycle of a write to the same word is not defined. `init`:
    entries (isa.contents) at power-on.
    """

    def __init__(
        self, space: Space, depth: int, layout: ArrayLayout, address_bits: int, block: bool,
        init: Sequence[int] = (),
    ) -> None:
        self.space, self.depth, self.layout = space, depth, layout
        self.attributes = style(depth, block)
        self.init = [self._kept(entry) for entry in init]
        super().__init__({"tables": In(table_write()), "read": In(read_port(address_bits, layout))})

    def _kept(self, entry: int) -> int:
        """The low bits of each 16 of an entry."""
        bits, lanes = self.layout.elem_shape.width, self.layout.length
        mask = (1 << bits) - 1
        return sum((entry >> 16 * lane & mask) << bits * lane for lane in range(lanes))

    def elaborate(self, platform):
        m = Module()
        bits, lanes = self.layout.elem_shape.width, self.layout.length
        pairs = lanes // 2
        m.submodules.memory = memory = Memory(
            shape=unsigned(bits * lanes), depth=self.depth, init=self.init, attrs=self.attributes
        )
        write = memory.write_port(granularity=2 * bits)
        read = memory.read_port()
        low, high = self.tables.data[:bits], self.tables.data[16 : 16 + bits]
        shift = pairs.bit_length() - 1
        word = self.tables.address[shift:]
        m.d.comb += [
            write.addr.eq(word),
            write.data.eq(Cat((low, high) for _ in range(pairs))),
            read.addr.eq(self.read.address),
            self.read.data.eq(read.data),
        ]
        mine = self.tables.space == self.space
        with m.If(self.tables.enable & mine & (word < self.depth)):
            m.d.comb += write.en.eq(1 << self.tables.address[:shift])
        return m


def parameter_memory(c: Configuration, init: Sequence[int] = ()) -> PairMemory:
    """Gain and drop (or half of a bias) of V outputs a word."""
    return PairMemory(Space.PARAMETER, c.parameter_depth, parameter_layout(c), 18, True, init)


class ExponentMemory(Component):
    """Exponents of keys or values, V positions a word; read latency one cycle.

    A write puts `exponent` (-8..23; a code vector has -7..17) into every position of the word that
    `lanes` names.
    """

    def __init__(self, c: Configuration) -> None:
        self.c = c
        super().__init__(
            {
                "enable": In(1),
                "address": In(18),
                "lanes": In(c.vector_lanes),
                "exponent": In(signed(EXPONENT.bits)),
                "read": In(read_port(18, exponents_layout(c))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        lanes = self.c.vector_lanes
        depth = self.c.exponent_depth
        attributes = style(depth, self.c.spare_blocks)
        # A look-up table's memory is four bits wide with one enable: the top bits of all lanes go
        # together, and are read to be written.
        together = bool(attributes)
        low_bits = _STORED_BITS - together
        m.submodules.memory = memory = Memory(
            shape=unsigned(low_bits * lanes), depth=depth, init=[], attrs=attributes
        )
        write, read = memory.write_port(granularity=low_bits), memory.read_port()
        data = Signal(_STORED_BITS)
        m.d.comb += [
            data.eq(self.exponent + _STORED_OFFSET),
            write.addr.eq(self.address),
            write.data.eq(data[:low_bits].replicate(lanes)),
            write.en.eq(Mux(self.enable, self.lanes, 0)),
            read.addr.eq(self.read.address),
        ]
        tops = Signal(lanes)
        if together:
            m.submodules.tops = memory = Memory(
                shape=unsigned(lanes), depth=depth, init=[], attrs=attributes
            )
            top, before, seen = (
                memory.write_port(), memory.read_port(domain="comb"), memory.read_port()
            )  # fmt: skip
            m.d.comb += [
                before.addr.eq(self.address),
                top.addr.eq(self.address),
                top.data.eq((before.data & ~self.lanes) | (data[-1].replicate(lanes) & self.lanes)),
                top.en.eq(self.enable),
                seen.addr.eq(self.read.address),
                tops.eq(seen.data),
            ]
        for lane in range(lanes):
            stored = Cat(read.data.word_select(lane, low_bits), tops[lane])[:_STORED_BITS]
            m.d.comb += self.read.data[lane].eq(stored - _STORED_OFFSET)
        return m
