"""Vector memory: words of V elements; four readers, two writers and the link's read-back."""

from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In

from hdl.lib.shapes import read_port, word_layout, write_port
from hdl.memory.style import style
from hdl.units.vector import vector_write_layout
from isa.configurations import Configuration
from isa.formats import VECTOR


class VectorMemory(Component):
    """Each reader has a copy of its own: data one cycle after address, no arbitration.

    One physical write port: the post unit writes when it wants, the vector unit when the post
    unit does not. A word can be read in the cycle after it was written. `loader` (read-back)
    shares the copy of vector_b while `loading`, when nothing runs.
    """

    def __init__(self, c: Configuration) -> None:
        self.c = c
        port = read_port(16, word_layout(c))
        super().__init__(
            {
                "fire": In(port),
                "post": In(port),
                "vector_a": In(port),
                "vector_b": In(port),
                "loader": In(port),
                "loading": In(1),
                "post_write": In(write_port(16, word_layout(c))),
                "vector_write": In(stream.Signature(vector_write_layout(c))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        c = self.c
        width = VECTOR.bits * c.vector_lanes
        enable = Signal()
        address, data = Signal(range(c.vector_depth)), Signal(width)
        m.d.comb += [
            self.vector_write.ready.eq(~self.post_write.enable),
            enable.eq(self.post_write.enable | self.vector_write.valid),
            address.eq(self.vector_write.payload.address),
            data.eq(self.vector_write.payload.data),
        ]
        with m.If(self.post_write.enable):
            m.d.comb += [
                address.eq(self.post_write.address),
                data.eq(self.post_write.data),
            ]
        for name in ("fire", "post", "vector_a", "vector_b"):
            reader = getattr(self, name)
            attributes = style(c.vector_depth, block=name == "fire" or c.spare_blocks)
            m.submodules[name] = memory = Memory(
                shape=unsigned(width), depth=c.vector_depth, init=[], attrs=attributes
            )
            write, port = memory.write_port(), memory.read_port()
            m.d.comb += [
                write.en.eq(enable),
                write.addr.eq(address),
                write.data.eq(data),
                port.addr.eq(reader.address),
                reader.data.eq(port.data),
            ]
            if name == "vector_b":
                m.d.comb += self.loader.data.eq(port.data)
                with m.If(self.loading):
                    m.d.comb += port.addr.eq(self.loader.address)
        return m
