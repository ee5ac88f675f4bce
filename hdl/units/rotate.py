"""Rotary embedding: neighbouring pairs of a word turn by their angle (golden.units.attention)."""

from amaranth.hdl import Module, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hdl.lib.arithmetic import saturate
from hdl.units.pipeline import delayed
from hdl.units.products import digits, gather, join
from isa.formats import TRIGONOMETRIC, TRIGONOMETRIC_FRACTION, VECTOR

_DIGITS = TRIGONOMETRIC.bits // 2
_LOW = _DIGITS // 2  # digits gathered before the register that cuts a product in two


class Rotator(wiring.Component):
    """source (lanes 2i, 2i+1: a pair), rotation (lane 2i: cosine, 2i+1: sine; 10 fraction bits)
    -> result, clipped. Latency 4 cycles, then combinational. Rounds half up, once; saturates.
    """

    def __init__(self, lanes: int):
        super().__init__(
            {
                "source": In(signed(VECTOR.bits)).array(lanes),
                "rotation": In(signed(TRIGONOMETRIC.bits)).array(lanes),
                "result": Out(signed(VECTOR.bits)).array(lanes),
                "clipped": Out(1).array(lanes),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()

        def product(value, code) -> tuple[Value, Value]:
            """After two cycles: (product less what the carry stands for, the carry)."""
            parts = digits(code)
            totals = []
            for some in (parts[:_LOW], parts[_LOW:]):
                total, carry = gather(value, some)
                totals += [delayed(m, total), delayed(m, carry)]
            low, low_carry, high, high_carry = totals
            total = join(low, low_carry, high, _LOW)
            total = delayed(m, total, shape=signed(VECTOR.bits + TRIGONOMETRIC.bits))
            return total, delayed(m, high_carry)

        # A product's carry weighs 4**5 = 2**TRIGONOMETRIC_FRACTION: it joins the rounding.
        assert 2 * (_DIGITS - 1) == TRIGONOMETRIC_FRACTION
        for i in range(0, len(self.source), 2):
            a, b = self.source[i], self.source[i + 1]
            cosine, sine = self.rotation[i], self.rotation[i + 1]
            (ac, ac_up), (bs, bs_up) = product(a, cosine), product(b, sine)
            (as_, as_up), (bc, bc_up) = product(a, sine), product(b, cosine)
            for lane, total, carries in (
                (i, ac - bs, ac_up - bs_up),
                (i + 1, as_ + bc, as_up + bc_up),
            ):
                held = delayed(m, total)
                up = delayed(m, carries) + held[TRIGONOMETRIC_FRACTION - 1]
                rounded = delayed(m, (held >> TRIGONOMETRIC_FRACTION) + up)
                value, clipped = saturate(rounded, VECTOR.bits)
                m.d.comb += [self.result[lane].eq(value), self.clipped[lane].eq(clipped)]
        return m
