"""Exponents that keys and values are stored with, and the alignment of a head's values."""

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, Signature

from hdl.lib.pipeline import delayed
from hdl.lib.shapes import POSITION_BITS
from isa.configurations import Configuration
from isa.formats import CODE, EXPONENT

EXPONENT_ADDRESS_BITS = 18


def exponent_write(c: Configuration) -> Signature:
    """A write of one exponent: the lane of `lanes` (one-hot) of the exponent word `address`."""
    return Signature(
        {
            "enable": Out(1),
            "address": Out(EXPONENT_ADDRESS_BITS),
            "lanes": Out(c.vector_lanes),
            "data": Out(signed(EXPONENT.bits)),
        }
    )


class HeadExponents(wiring.Component):
    """One exponent memory write a head, and the alignment registers.

    `start` sets the first head's exponent word and alignment register. Then each `head` writes
    exponent = length - 7 for this position, in the same cycle, and goes to the next head: `stride`
    words on, and one alignment register. A value's exponent also raises its alignment register, a
    cycle later; at position 0 it sets it. `alignment` is the register's content, two cycles after
    `start`.
    """

    def __init__(self, c: Configuration):
        self._c = c
        super().__init__(
            {
                "start": In(1),
                "address": In(EXPONENT_ADDRESS_BITS),
                "register": In(8),
                "stride": In(16),
                "position": In(POSITION_BITS),
                "head": In(1),
                "key": In(1),
                "length": In(5),
                "exponent": Out(signed(EXPONENT.bits)),
                "alignment": Out(signed(EXPONENT.bits)),
                "key_write": Out(exponent_write(c)),
                "value_write": Out(exponent_write(c)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        c = self._c
        lane_bits = c.vector_lanes.bit_length() - 1
        m.submodules.alignments = alignments = Memory(
            shape=signed(EXPONENT.bits), depth=c.alignments, init=[]
        )
        read, write = alignments.read_port(domain="comb"), alignments.write_port()
        address, register = Signal(EXPONENT_ADDRESS_BITS), Signal(8)
        first = Signal()
        m.d.sync += first.eq(self.position == 0)  # constant long before an exponent comes
        # Compared a cycle later, with what the register held; the next head has another register.
        value_head, exponent = Signal(), delayed(m, self.exponent)
        m.d.sync += value_head.eq(self.head & ~self.key)
        with m.If(self.start):
            m.d.sync += [
                address.eq(self.address + (self.position >> lane_bits)),
                register.eq(self.register),
            ]
        with m.Elif(self.head):
            m.d.sync += [address.eq(address + self.stride), register.eq(register + 1)]
        m.d.comb += [
            self.exponent.eq(self.length - (CODE.bits - 1)),
            read.addr.eq(register),
            write.addr.eq(delayed(m, register)),
            write.en.eq(value_head & (first | (exponent > self.alignment))),
            write.data.eq(exponent),
            self.key_write.enable.eq(self.head & self.key),
            self.value_write.enable.eq(self.head & ~self.key),
        ]
        for port in (self.key_write, self.value_write):
            m.d.comb += [
                port.address.eq(address),
                port.lanes.eq(1 << self.position[:lane_bits]),
                port.data.eq(self.exponent),
            ]
        m.d.sync += self.alignment.eq(read.data)
        return m
