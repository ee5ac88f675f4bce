"""Modulation: one vector fires, the other is gathered element by element (gate x up); and the
codes alone, for the key/value store."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hdl.lib.arithmetic import absolute
from hdl.units.pipeline import delayed
from hdl.units.products import digits, gather, join, round_saturate
from isa.formats import CODE, VECTOR

LENGTH_BITS = VECTOR.bits.bit_length()
_SIZE_BITS = CODE.bits - 1
_MAXIMUM_LEFT = VECTOR.bits - _SIZE_BITS  # product_shift 0 and the largest exponent
_NOTHING_LEFT = VECTOR.bits + _SIZE_BITS + 1  # a right shift that rounds every product to 0
_LOW = 2  # digits gathered before the register that cuts a product in two


class Modulator(wiring.Component):
    """source coded at exponent length - 7 -> codes; scale(code * operand, product_shift - exponent)
    -> result, clipped. `length` (0..24) is the bit length of the OR of the source's magnitudes.

    Latency: codes 2 cycles; result and clipped 4 cycles, then combinational.
    """

    def __init__(self, lanes: int):
        super().__init__(
            {
                "source": In(signed(VECTOR.bits)).array(lanes),
                "operand": In(signed(VECTOR.bits)).array(lanes),
                "length": In(LENGTH_BITS),
                "product_shift": In(6),
                "codes": Out(signed(CODE.bits)).array(lanes),
                "result": Out(signed(VECTOR.bits)).array(lanes),
                "clipped": Out(1).array(lanes),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        # The right shift, counted from the largest left shift; the same for all lanes.
        limit = _MAXIMUM_LEFT + _NOTHING_LEFT
        wanted = self.product_shift + (VECTOR.bits - self.length)
        amount = delayed(m, Mux(wanted > limit, limit, wanted), 3, shape=range(limit + 1))
        for lane, source in enumerate(self.source):
            operand = self.operand[lane]
            # |source| < 2**length: eight bits are left, the code's size and the half.
            shifted = Cat(Const(0, CODE.bits), absolute(source)) >> self.length
            doubled = delayed(m, shifted, shape=CODE.bits)
            negative = delayed(m, source < 0)
            turned = Mux(source < 0, -operand, operand)
            turned = delayed(m, turned, shape=signed(VECTOR.bits))
            size = Signal(_SIZE_BITS)
            full = doubled.all()  # only this rounds up to 128: it is cut to 127
            m.d.comb += size.eq(doubled[1:] + (doubled[0] & ~full))
            code = delayed(m, Mux(negative, -size, size), shape=signed(CODE.bits))

            parts = digits(size)
            low, low_carry = gather(turned, parts[:_LOW])
            high, _ = gather(turned, parts[_LOW:])  # the size is unsigned: no carry
            product = join(delayed(m, low), delayed(m, low_carry), delayed(m, high), _LOW)
            product = delayed(m, product, shape=signed(VECTOR.bits + _SIZE_BITS))
            scaled = Cat(Const(0, _MAXIMUM_LEFT + 1), product).as_signed() >> amount
            value, clipped = round_saturate(delayed(m, scaled), VECTOR.bits)
            m.d.comb += [
                self.codes[lane].eq(code),
                self.result[lane].eq(value),
                self.clipped[lane].eq(clipped),
            ]
        return m
