"""Vector memory: words of V elements, and the rotation table behind them."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Signal, unsigned
from amaranth.lib import stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In

from hdl.lib.shapes import (
    read_port,
    shared_read,
    table_write,
    vector_write_layout,
    word_layout,
    write_port,
)
from isa.configurations import Configuration
from isa.formats import TRIGONOMETRIC, VECTOR
from isa.packets import Space

assert VECTOR.bits == 2 * TRIGONOMETRIC.bits  # a cosine and its sine take an element's place


class VectorMemory(Component):
    """Words of V elements, with one read port and one write port that the units share. A second
    copy with ports of its own would not fit the block RAM of `ulx3s`.

    Readers take turns: the post unit before Fire before the vector unit. The post unit is never
    refused, nor is `loader` (read-back) while `loading`, when nothing runs. Data comes one cycle
    after a granted address. The post unit writes when it wants, the vector unit when the post unit
    does not. A word can be read in the cycle after it was written.

    The cosines and sines of rotary embedding lie behind the vectors. A word of that table is V / 2
    pairs, and two of them share a word of the memory: word w is at vector_depth + w div 2, in the
    low half where w is even. The loader's broadcast fills it, a pair at a time, while nothing runs;
    a write beyond the end is dropped.
    """

    def __init__(self, c: Configuration, rotation: Sequence[int] = ()) -> None:
        self.c, self._rotation = c, rotation
        port = shared_read(16, word_layout(c))
        super().__init__(
            {
                "fire": In(port),
                "post": In(port),
                "vector": In(port),
                "loader": In(read_port(16, word_layout(c))),
                "loading": In(1),
                "post_write": In(write_port(16, word_layout(c))),
                "vector_write": In(stream.Signature(vector_write_layout(c))),
                "tables": In(table_write()),
            }
        )

    def _init(self) -> list[int]:
        """The memory at power-on: zeros, then `rotation` (entries of isa.contents), if any."""
        half = self.c.vector_lanes // 2
        bits = TRIGONOMETRIC.bits
        low = (1 << bits) - 1
        pairs = [entry >> 32 * n & 0xFFFFFFFF for entry in self._rotation for n in range(half)]
        pairs = [pair & low | (pair >> 16 & low) << bits for pair in pairs]
        words = [
            sum(pair << VECTOR.bits * n for n, pair in enumerate(pairs[at : at + 2 * half]))
            for at in range(0, len(pairs), 2 * half)
        ]
        return [0] * self.c.vector_depth + words if words else []

    def elaborate(self, platform):
        m = Module()
        c = self.c
        lanes = c.vector_lanes
        width = VECTOR.bits * lanes
        depth = c.vector_depth + -(-c.rotation_depth // 2)
        m.submodules.memory = memory = Memory(shape=unsigned(width), depth=depth, init=self._init())
        write, read = memory.write_port(granularity=VECTOR.bits), memory.read_port()

        m.d.comb += [
            self.post.grant.eq(1),
            self.fire.grant.eq(~self.post.request),
            self.vector.grant.eq(~self.post.request & ~self.fire.request),
            read.addr.eq(self.vector.address),
            self.loader.data.eq(read.data),
        ]
        with m.If(self.loading):
            m.d.comb += read.addr.eq(self.loader.address)
        with m.Elif(self.post.request):
            m.d.comb += read.addr.eq(self.post.address)
        with m.Elif(self.fire.request):
            m.d.comb += read.addr.eq(self.fire.address)
        for reader in (self.fire, self.post, self.vector):
            m.d.comb += reader.data.eq(read.data)

        table, pair = Signal(), Signal(VECTOR.bits)
        element, word = Signal(range(lanes)), Signal(range(depth))
        m.d.sync += [
            table.eq(
                self.tables.enable
                & (self.tables.space == Space.ROTATION)
                & (self.tables.address < (c.rotation_depth * lanes) // 2)
            ),
            Cat(element, word).eq(self.tables.address + c.vector_depth * lanes),
            pair.eq(
                Cat(self.tables.data[i : i + TRIGONOMETRIC.bits] for i in (0, 16))
            ),
        ]
        m.d.comb += [
            self.vector_write.ready.eq(~self.post_write.enable & ~table),
            write.en.eq((self.post_write.enable | self.vector_write.valid).replicate(lanes)),
            write.addr.eq(self.vector_write.payload.address),
            write.data.eq(self.vector_write.payload.data),
        ]
        with m.If(table):
            m.d.comb += [
                write.en.eq(1 << element),
                write.addr.eq(word),
                write.data.eq(pair.replicate(lanes)),
            ]
        with m.Elif(self.post_write.enable):
            m.d.comb += [
                write.addr.eq(self.post_write.address),
                write.data.eq(self.post_write.data),
            ]
        return m
