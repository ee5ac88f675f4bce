"""Two writers of row memory, the vector unit before the link."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out

from hdl.lib.shapes import row_write_layout
from isa.configurations import Configuration


class RowArbiter(Component):
    """`first` (keys and values) is never refused; `second` (the link) comes between.

    What `first` gives comes out two cycles later, what `second` gives in the next cycle. Whether
    `second` is taken comes out of a register: the receiver decides on it what becomes of a word.
    """

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
        earlier, free = Signal(), Signal(init=1)
        kept = Signal.like(self.out.payload, reset_less=True)
        m.d.comb += [self.first.ready.eq(1), self.second.ready.eq(free)]
        m.d.sync += [
            earlier.eq(self.first.valid),
            free.eq(~self.first.valid),
            kept.eq(self.first.payload),
            self.out.valid.eq(earlier | self.second.valid),
            self.out.payload.eq(Mux(earlier, kept, self.second.payload)),
        ]
        return m
