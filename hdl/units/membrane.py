"""One EI-IF neuron's membrane potential: an adder, a comparison, and what a step makes of them."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from hdl.lib.ecp5 import carry_sum
from isa.formats import CODE, POTENTIAL

SPIKE_BITS = 8  # of the largest amplitude, 2**7


def drive_layout() -> StructLayout:
    """What every neuron of the group does in this cycle. At most one of load, integrate, limit,
    shift, subtract and a step's fire; the potential holds in a cycle that has none."""
    return StructLayout(
        {
            "load": unsigned(1),  # V <- next_code
            "integrate": unsigned(1),  # V <- V + code, modulo 2**16; limit must follow
            "limit": unsigned(1),  # saturates what the integration gave
            # A fire compares, and then resets and clears as the step says:
            "soft": unsigned(1),  # V <- V -+ 2**amplitude where fired
            "hard": unsigned(1),  # V <- 0 where fired
            "clear": unsigned(1),  # V <- 0
            "reload": unsigned(1),  # V <- code
            "shift": unsigned(1),  # leak: V >> 1, then that again >> 1, ...
            "first_shift": unsigned(1),
            "subtract": unsigned(1),  # V <- V - what was shifted
            "below": unsigned(POTENTIAL.bits - 1),  # -threshold, modulo 2**15
            "plus": unsigned(SPIKE_BITS),  # 2**amplitude if soft, else 0
            "minus": unsigned(SPIKE_BITS),  # -2**amplitude if soft, else 0
        }
    )


class Membrane(wiring.Component):
    """Golden's neuron.step in cycles that `drive` names, each on the potential V of 16 bits.

    fired and negative are of this cycle's fire; without one they mean nothing, but are 0 where V is
    0. zero: V is 0 before this cycle. `enable` lets V change.
    """

    enable: In(1)
    drive: In(drive_layout())
    code: In(signed(CODE.bits))
    next_code: In(signed(CODE.bits))
    fired: Out(1)
    negative: Out(1)
    zero: Out(1)

    def elaborate(self, platform):
        m = Module()
        bits = POTENTIAL.bits
        drive = self.drive
        v = Signal(signed(bits), reset_less=True)  # loaded before it matters
        sign = v[-1]

        # |V| >= threshold where (V xor sign) + sign - threshold does not borrow.
        size = Cat(v[:-1], Const(0, 1))
        compared = carry_sum(
            m, platform, Cat(drive.below, Const(0, 1)), lambda b, c, d: c ^ d,
            Const(0, bits), size, Cat(sign.replicate(bits - 1), Const(0, 1)), sign,
        )  # fmt: skip
        m.d.comb += [
            self.fired.eq(compared[-1]),
            self.negative.eq(compared[-1] & sign),
        ]

        # A spike's amplitude is known before the spike; the adder's tables mask it. `fired` means
        # nothing where the step does not fire, but then there is no amplitude either.
        spike = Cat(Mux(sign, drive.plus, drive.minus), (~sign & drive.soft).replicate(9))
        leaked = Signal(signed(bits), reset_less=True)
        with m.If(drive.shift & self.enable):
            m.d.sync += leaked.eq(Mux(drive.first_shift, v, leaked) >> 1)
        other = Signal(signed(bits + 1))
        m.d.comb += other.eq(
            Mux(drive.integrate, self.code, 0) | Mux(drive.subtract, ~leaked, 0)
        )
        total = Signal(bits + 1)
        m.d.comb += total.eq(
            carry_sum(
                m, platform, Cat(v, sign), lambda b, c, d: c | (b & d),
                compared[-1].replicate(bits + 1), other, spike, drive.subtract,
            )
        )  # fmt: skip

        beyond = Signal()  # the sum had no room in V: its sign is wrong
        with m.If(drive.integrate & self.enable):
            m.d.sync += beyond.eq(total[-1] ^ total[-2])
        least = ~v[:-1].any()  # V is 0 or -32768
        limited = drive.limit & (beyond | (least & sign))
        below = ~(beyond & sign)
        limit = Cat(Const(1, 1), (~below).replicate(bits - 2), below)
        # What V becomes without the sum is known before the sum: one table a bit joins the two.
        charge = Mux(drive.limit, limit.as_signed(), self.code)
        known = Signal(signed(bits))
        kept = Signal()
        with m.If(drive.load):  # whatever else is set
            m.d.comb += known.eq(self.next_code)
        with m.Elif(drive.reload | limited):
            m.d.comb += known.eq(charge)
        with m.Else():
            m.d.comb += kept.eq(~(drive.clear | (drive.hard & compared[-1])))
        with m.If(self.enable):
            m.d.sync += v.eq(known | (total[:bits] & kept.replicate(bits)).as_signed())

        m.d.comb += self.zero.eq(least & ~sign)
        return m
