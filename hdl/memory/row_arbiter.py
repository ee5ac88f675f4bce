"""Two writers of row memory, the vector unit before the link."""

from amaranth.hdl import Module
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out

from hdl.lib.shapes import row_write_layout
from isa.configurations import Configuration


class RowArbiter(Component):
    """`first` (keys and values) goes before `second` (the link); no latency, nothing is kept."""

    def __init__(self, c: Configuration) -> None:
        write = stream.Signature(row_write_layout(c))
        super().__init__(
            {
                "first": In(write),
                "second": In(write),
                "out": Out(stream.Signature(row_write_layout(c), always_ready=True)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.d.comb += [
            self.first.ready.eq(1),
            self.second.ready.eq(~self.first.valid),
            self.out.valid.eq(self.first.valid | self.second.valid),
            self.out.payload.eq(self.second.payload),
        ]
        with m.If(self.first.valid):
            m.d.comb += self.out.payload.eq(self.first.payload)
        return m
