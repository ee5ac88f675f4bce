"""Ring buffer bookkeeping: entries come over the link, are taken in order and freed later."""

from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import Component, In, Out

AMOUNT_BITS = 16


class Ring(Component):
    """Counts the entries of a ring of mask + 1 entries at base (a multiple of its size).

    pointer: offset 0..mask of the first entry not yet taken; available: how many have come and
    are not taken. take and free (each with an amount) may come in the same cycle; what is taken
    must be available. write_ready: there is room for an entry at write_address; write_done says
    that it is complete. All outputs follow in the next cycle.
    """

    def __init__(self, bits: int) -> None:
        self.bits = bits
        super().__init__(
            {
                "base": In(bits),
                "mask": In(bits),
                "pointer": Out(bits),
                "available": Out(bits),
                "take": In(1),
                "take_amount": In(AMOUNT_BITS),
                "free": In(1),
                "free_amount": In(AMOUNT_BITS),
                "write_address": Out(bits),
                "write_ready": Out(1),
                "write_done": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # Running totals of entries, modulo 2**(bits + 1): their differences are at most the size.
        bits = self.bits + 1
        written, taken, freed = (Signal(bits, name=n) for n in ("written", "taken", "freed"))
        with m.If(self.write_done):
            m.d.sync += written.eq(written + 1)
        with m.If(self.take):
            m.d.sync += taken.eq(taken + self.take_amount)
        with m.If(self.free):
            m.d.sync += freed.eq(freed + self.free_amount)
        m.d.comb += [
            self.pointer.eq(taken & self.mask),
            self.available.eq((written - taken)[: self.bits]),
            self.write_address.eq(self.base | (written & self.mask)),
            self.write_ready.eq((written - freed)[:bits] <= self.mask),
        ]
        return m
