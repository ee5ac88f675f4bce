"""Ring buffer bookkeeping: entries come over the link, are taken in order and freed later."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib.wiring import Component, In, Out

AMOUNT_BITS = 16
ROOM_LATENCY = 3  # cycles from an entry that comes or goes to a write_ready that knows of it
SPARE_BITS = 2
SPARE = 1 << SPARE_BITS  # entries; more than can come before they are counted


class Ring(Component):
    """Counts the entries of a ring of mask + 1 entries (a power of two) at base, a multiple of it.

    pointer: offset 0..mask of the first entry not yet taken; available: how many have come and
    are not taken. take and free (each with an amount) may come in the same cycle; what is taken
    must be available. write_ready: there is room for an entry at write_address; write_done says
    that it is complete. All outputs but write_ready follow in the next cycle.

    write_ready sees an entry that comes or goes ROOM_LATENCY cycles late. It never promises too
    much: where no more than SPARE entries are free, it is 0 until then. It falls only in the cycle
    after write_done, if entries are two cycles apart or more.
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
        # Running totals of entries, modulo 2**(bits + 1): no difference is larger than the ring.
        bits = self.bits + 1
        written, taken, freed = (Signal(bits, name=n) for n in ("written", "taken", "freed"))
        with m.If(self.write_done):
            m.d.sync += written.eq(written + 1)
        with m.If(self.take):
            m.d.sync += taken.eq(taken + self.take_amount)
        with m.If(self.free):
            m.d.sync += freed.eq(freed + self.free_amount)
        # Whether there is room comes out of a register, as the receiver decides on it. It does not
        # count what was written in the last two cycles: then there must be some entries to spare.
        used, over, scarce, ready, recent = Signal(bits), Signal(), Signal(), Signal(), Signal()
        beyond = Cat(~self.mask, 1)  # bits of a count that no offset in the ring has
        m.d.comb += [
            over.eq((used & beyond).any()),
            scarce.eq((used | beyond)[SPARE_BITS:].all()),
        ]
        m.d.sync += [
            used.eq(written - freed),
            recent.eq(self.write_done),
            ready.eq(~over & ~(scarce & (recent | self.write_done))),
        ]
        m.d.comb += [
            self.pointer.eq(taken & self.mask),
            self.available.eq((written - taken)[: self.bits]),
            self.write_address.eq(self.base | (written & self.mask)),
            self.write_ready.eq(ready),
        ]
        return m
