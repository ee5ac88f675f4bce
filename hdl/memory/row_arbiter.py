"""Two writers of row memory, the vector unit before the link."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out

from hdl.lib.shapes import row_write_layout
from isa.configurations import Configuration


class RowArbiter(Component):
    """`first` (keys and values) goes before `second` (the link); what is taken comes out in the
    next cycle. Each waits that cycle in a register of its own: the decisions behind `second` are
    long, and row memory is far."""

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
        valid = [Signal(name=f"valid_{k}") for k in range(2)]
        payload = [Signal.like(self.out.payload, name=f"payload_{k}", reset_less=True) for k in range(2)]
        m.d.comb += [
            self.first.ready.eq(1),
            self.second.ready.eq(~self.first.valid),
            self.out.valid.eq(valid[0] | valid[1]),
            self.out.payload.eq(Mux(valid[0], payload[0], payload[1])),
        ]
        m.d.sync += [
            valid[0].eq(self.first.valid),
            valid[1].eq(self.second.valid & self.second.ready),
            payload[0].eq(self.first.payload),
            payload[1].eq(self.second.payload),
        ]
        return m
