"""Magnitude registers: the OR of |v| over a vector, gathered while it is written."""

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hdl.lib.arithmetic import absolute
from hdl.lib.pipeline import delayed
from hdl.lib.shapes import write_port
from isa.formats import VECTOR

MAGNITUDE_ADDRESS_BITS = 8


class MagnitudeWriter(wiring.Component):
    """Words in (`valid`; `end` with the last of a segment), one register write a segment.

    `start` sets the first segment's register. Latency: the write comes one cycle after `end`.
    """

    def __init__(self, lanes: int):
        super().__init__(
            {
                "start": In(1),
                "register": In(MAGNITUDE_ADDRESS_BITS),
                "valid": In(1),
                "end": In(1),
                "values": In(signed(VECTOR.bits)).array(lanes),
                "write": Out(write_port(MAGNITUDE_ADDRESS_BITS, unsigned(VECTOR.bits))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        valid, end = Signal(), Signal()
        m.d.sync += [valid.eq(self.valid), end.eq(self.end)]
        gathered = Signal(VECTOR.bits)
        together = gathered
        for value in self.values:
            together = together | delayed(m, absolute(value))
        m.d.comb += [self.write.data.eq(together), self.write.enable.eq(valid & end)]
        with m.If(self.start):
            m.d.sync += [self.write.address.eq(self.register), gathered.eq(0)]
        with m.Elif(valid):
            m.d.sync += [
                self.write.address.eq(self.write.address + end),
                gathered.eq(Mux(end, 0, together)),
            ]
        return m
