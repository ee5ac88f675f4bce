"""A register between two streams: no wire passes from one side to the other."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out


class HalfRateRegister(Component):
    """Takes an element when it holds none: one in INTERVAL cycles at most.

    Each is offered a cycle later. `i.ready` and `o.valid` are registers: long decisions may begin
    and end at either side. `clear` empties it: from the next cycle on, and until the cycle after
    the last of `clear`, it neither offers nor takes an element. What it took in the first cycle of
    `clear` is lost.
    """

    INTERVAL = 2  # cycles from an element to the next at least

    def __init__(self, shape) -> None:
        element = stream.Signature(shape)
        super().__init__({"i": In(element), "o": Out(element), "clear": In(1)})

    def elaborate(self, platform):
        m = Module()
        empty, full = Signal(), Signal()  # neither after a reset and while cleared
        data = Signal.like(self.i.payload, reset_less=True)
        m.d.comb += [
            self.i.ready.eq(empty),
            self.o.valid.eq(full),
            self.o.payload.eq(data),
        ]
        with m.If(empty):
            m.d.sync += data.eq(self.i.payload)
        with m.If(full):
            m.d.sync += [full.eq(~self.o.ready), empty.eq(self.o.ready)]
        with m.Else():
            m.d.sync += [full.eq(empty & self.i.valid), empty.eq(~(empty & self.i.valid))]
        with m.If(self.clear):
            m.d.sync += [full.eq(0), empty.eq(0)]
        return m
