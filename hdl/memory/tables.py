"""Memories with one writer and one reader: parameters, exponents."""

from collections.abc import Sequence
from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib.data import ArrayLayout
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In

from hdl.lib.copies import copy_of
from hdl.lib.ecp5 import select
from hdl.lib.pipeline import delayed
from hdl.lib.shapes import exponents_layout, parameter_layout, read_port, table_write
from hdl.memory.style import style
from isa.configurations import Configuration
from isa.formats import EXPONENT
from isa.packets import Space

PARAMETER_ADDRESS_BITS = 18

_STORED_BITS, _STORED_OFFSET = 5, 8  # of an exponent: its memories are look-up tables
_GROUP = 16  # words of a memory made of look-up tables
_GROUP_BITS = _GROUP.bit_length() - 1
_BATCH = 8  # such memories behind one multiplexer, with registers of their own before them
_BATCH_BITS = (_GROUP * _BATCH).bit_length() - 1


class PairMemory(Component):
    """V elements a word, written two at a time from link words (16 bits each, the low bits kept).

    tables.address counts link words: V / 2 a memory word; a write beyond the end is dropped. A word
    comes READ_LATENCY cycles after its address. A read sees a write from WRITE_LATENCY cycles after
    it on; what is read of its word between is not defined. `init`: entries (isa.contents) at
    power-on.
    """

    READ_LATENCY = 1
    WRITE_LATENCY = 2

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
        mine = self.tables.enable & (self.tables.space == self.space) & (word < self.depth)
        m.d.sync += [
            write.addr.eq(word),
            write.data.eq(Cat((low, high) for _ in range(pairs))),
            write.en.eq(Mux(mine, 1 << self.tables.address[:shift], 0)),
        ]
        m.d.comb += [
            read.addr.eq(self.read.address),
            self.read.data.eq(read.data),
        ]
        return m


def parameter_memory(c: Configuration, init: Sequence[int] = ()) -> PairMemory:
    """Gain and drop (or half of a bias) of V outputs a word."""
    return PairMemory(Space.PARAMETER, c.parameter_depth, parameter_layout(c),
                      PARAMETER_ADDRESS_BITS, True, init)


class ExponentMemory(Component):
    """Exponents of keys or values, V positions a word.

    A word comes READ_LATENCY cycles after its address. A write puts `exponent` (-8..23; a code
    vector has -7..17) into every position of the word that `lanes` names. It takes the read port in
    the cycle after `enable`: what is read in that cycle is not defined. A read sees it from
    WRITE_LATENCY cycles after `enable` on; what is read of its word between is not defined. Two
    writes of a word are at least WRITE_LATENCY - 1 cycles apart.
    """

    READ_LATENCY = 3
    WRITE_LATENCY = 5

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
        data = Signal(_STORED_BITS)
        m.d.comb += data.eq(self.exponent + _STORED_OFFSET)
        blocks = self.c.exponent_blocks or not style(self.c.exponent_depth)
        word = delayed(m, self._blocks(m, data)) if blocks else self._tables(m, platform, data)
        for lane in range(self.c.vector_lanes):
            stored = word.word_select(lane, _STORED_BITS)
            m.d.comb += self.read.data[lane].eq(stored - _STORED_OFFSET)
        return m

    def _blocks(self, m: Module, data: Value) -> Value:
        """One memory; the word that was read."""
        lanes = self.c.vector_lanes
        m.submodules.memory = memory = Memory(
            shape=unsigned(_STORED_BITS * lanes), depth=self.c.exponent_depth, init=[]
        )
        write, read = memory.write_port(granularity=_STORED_BITS), memory.read_port()
        m.d.comb += [
            write.addr.eq(self.address),
            write.data.eq(data.replicate(lanes)),
            write.en.eq(Mux(self.enable, self.lanes, 0)),
            read.addr.eq(delayed(m, self.read.address)),
        ]
        return read.data

    def _tables(self, m: Module, platform, data: Value) -> Value:
        """Memories of 16 words of look-up tables, in batches that have a register each.

        A batch's register is 0 unless the batch was read, so that batches are joined by an OR. A
        write reads its word, changes the lanes that it names and puts the whole word back: lanes
        of five bits then need no memory of their own.
        """
        lanes, depth = self.c.vector_lanes, self.c.exponent_depth
        bits = _STORED_BITS * lanes
        # The cycles of a write: it has the address, reads, has the word, puts the new one back.
        turn, reads, comes, merges = (Signal(name=n) for n in ("turn", "reads", "comes", "merges"))
        # A copy of its own: the other exponent memory has the same address, elsewhere on the chip.
        address = Signal(range(depth))
        at = copy_of(m, self.address[: len(address)], "at")
        m.d.comb += address.eq(Mux(turn, at, self.read.address))
        named, exponent = (delayed(m, v, 3) for v in (self.lanes, data))
        m.d.sync += [turn.eq(self.enable), reads.eq(turn), comes.eq(reads), merges.eq(comes)]
        written_at = delayed(m, at, 3)
        mask = delayed(m, Cat(lane.replicate(_STORED_BITS) for lane in named))
        new = delayed(m, exponent.replicate(lanes))
        groups = range(-(-depth // _GROUP))

        def own(value: Value, name: str) -> Value:
            """A register for a batch. Where there is one batch it need not be kept apart from
            others, and must not: with `keep` Yosys 0.70 ends without a word in ABC9 on `tiny`."""
            return copy_of(m, value, name) if len(groups) > _BATCH else delayed(m, value)

        kept = []
        changed = Signal(bits)
        for first in groups[::_BATCH]:
            here = copy_of(m, address[:_BATCH_BITS], f"address_{first}")
            there = own(written_at[:_GROUP_BITS], f"written_at_{first}")
            written = own(changed, f"written_{first}")
            words = []
            for group in groups[first : first + _BATCH]:
                m.submodules[f"group_{group}"] = memory = Memory(
                    shape=unsigned(bits), depth=_GROUP, init=[], attrs=style(_GROUP)
                )
                write, read = memory.write_port(), memory.read_port(domain="comb")
                m.d.comb += [
                    read.addr.eq(here),
                    write.addr.eq(there),
                    write.data.eq(written),
                    write.en.eq(delayed(m, merges & (written_at[_GROUP_BITS:] == group))),
                ]
                words.append(read.data)
            words += [Const(0, bits)] * ((1 << (len(words) - 1).bit_length()) - len(words))
            batch = Signal(bits, name=f"kept_{first}", reset_less=True)
            # Decided a cycle earlier, so that no look-up table stands before the register's reset.
            silent = copy_of(m, address[_BATCH_BITS:] != first // _BATCH, f"silent_{first}")
            with m.If(silent):
                m.d.sync += batch.eq(0)
            with m.Else():
                m.d.sync += batch.eq(select(m, platform, words, here[_GROUP_BITS:]))
            kept.append(batch)
        word = delayed(m, reduce(or_, kept))
        m.d.comb += changed.eq((word & ~mask) | (new & mask))
        return word
