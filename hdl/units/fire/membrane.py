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
            "hard": unsigned(1),  # V <- 0 where fired_before: in the cycle after the fire
            "clear": unsigned(1),  # V <- 0
            "reload": unsigned(1),  # V <- code
            "shift": unsigned(1),  # leak: V >> 1, then that again >> 1, ...
            "first_shift": unsigned(1),
            "subtract": unsigned(1),  # V <- V - what was shifted
            "plus": unsigned(SPIKE_BITS),  # 2**amplitude
            "minus": unsigned(SPIKE_BITS),  # -2**amplitude
        }
    )


class Membrane(wiring.Component):
    """Golden's neuron.step in cycles that `drive` names, each on the potential V of 16 bits.

    below        the step's threshold, negated, modulo 2**15
    code         the input current;   next_code   what V begins with when the next group is loaded
    fired        |V| reaches the threshold in this cycle, and `negative`: V is below 0, too.
                 Without a fire they mean nothing, but are 0 where V is 0
    fired_before `fired` of the last fire
    zero         V is 0. It can be relied on behind a step's last cycle: a fire that does not
                 reload, or a cycle in which V holds or is reset

    Meant to stand behind the neurons' clock enable.
    """

    drive: In(drive_layout())
    below: In(POTENTIAL.bits - 1)
    code: In(signed(CODE.bits))
    next_code: In(signed(CODE.bits))
    fired_before: In(1)
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
            m, platform, Cat(self.below, Const(0, 1)), lambda b, c, d: c ^ d,
            Const(0, bits), size, Cat(sign.replicate(bits - 1), Const(0, 1)), sign,
        )  # fmt: skip
        m.d.comb += [
            self.fired.eq(compared[-1]),
            self.negative.eq(compared[-1] & sign),
        ]

        # A spike's amplitude is known before the spike: V without it is computed beside the
        # comparison, which then chooses. The same adder integrates and leaks.
        spike = Cat(
            Mux(sign, drive.plus, drive.minus) & drive.soft.replicate(SPIKE_BITS),
            (~sign & drive.soft).replicate(9),
        )
        leaked = Signal(signed(bits), reset_less=True)
        with m.If(drive.shift):
            left = Mux(drive.hard & self.fired_before, 0, v)
            m.d.sync += leaked.eq(Mux(drive.first_shift, left, leaked) >> 1)
        other = Signal(signed(bits + 1))
        m.d.comb += other.eq(
            Mux(drive.integrate, self.code, 0) | Mux(drive.subtract, ~leaked, 0)
        )
        total = Signal(bits + 1)
        m.d.comb += total.eq(
            carry_sum(
                m, platform, Cat(v, sign), lambda b, c, d: c | d,
                Const(0, bits + 1), other, spike, drive.subtract,
            )
        )  # fmt: skip
        changed = Mux(compared[-1] | ~drive.soft, total[:bits], v)

        beyond = Signal()  # the sum had no room in V: its sign is wrong
        with m.If(drive.integrate):
            m.d.sync += beyond.eq(total[-1] ^ total[-2])
        least = ~v[:-1].any()  # V is 0 or -32768
        limited = drive.limit & beyond
        lowest = drive.limit & least & sign  # -32768 becomes -32767
        limit = Cat(limited | lowest, (limited & sign).replicate(bits - 2), limited & ~sign)
        # What V becomes without the sum is known before the sum: idle sources are 0, and one
        # look-up table a bit joins them.
        known = Mux(drive.load, self.next_code, 0) | Mux(drive.reload, self.code, 0)
        kept = ~(drive.load | drive.clear | limited | (drive.hard & self.fired_before))
        m.d.sync += v.eq(known | limit.as_signed() | (changed & kept.replicate(bits)))

        # Computed beside V and not from it, so that it is there as early: V becomes 0 where the
        # spike takes just V's size, or V was 0 and does not change.
        size_of_spike = Cat(Mux(sign, drive.minus, drive.plus), sign.replicate(bits - SPIKE_BITS))
        spent = v.as_unsigned() == size_of_spike
        reset = drive.clear | (drive.hard & self.fired_before)
        zero = Signal(reset_less=True)
        m.d.sync += zero.eq(reset | Mux(compared[-1] & drive.soft, spent, least & ~sign))
        m.d.comb += self.zero.eq(zero)
        return m
