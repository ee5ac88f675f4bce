"""The shift that modulation and attention's weights end with."""

from amaranth.hdl import Cat, Const, Module, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hdl.lib.arithmetic import ROUND_SHIFT_CYCLES, beyond, round_shift_window
from isa.formats import CODE, VECTOR

SIZE_BITS = CODE.bits - 1
VALUE_BITS = VECTOR.bits + SIZE_BITS  # of the product of an element and a code
MAXIMUM_LEFT = VECTOR.bits - SIZE_BITS
MAXIMUM_RIGHT = VALUE_BITS + 1  # rounds every value to 0
AMOUNT_BITS = (MAXIMUM_LEFT + MAXIMUM_RIGHT).bit_length()


class Scaler(wiring.Component):
    """value * 2**(MAXIMUM_LEFT - amount), rounded half up, in every lane; to be clipped as `over`
    and `least` tell (hdl.lib.arithmetic.clip).

    LATENCY cycles, then logic without a register. Without `active` results are 0 in the next cycle.
    """

    LATENCY = ROUND_SHIFT_CYCLES

    def __init__(self, lanes: int):
        super().__init__(
            {
                "value": In(signed(VALUE_BITS)).array(lanes),
                "amount": In(unsigned(AMOUNT_BITS)).array(lanes),
                "active": In(1),
                "result": Out(signed(VECTOR.bits)).array(lanes),
                "over": Out(1).array(lanes),
                "least": Out(1).array(lanes),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        for value, amount, result, over, least in zip(
            self.value, self.amount, self.result, self.over, self.least, strict=True
        ):
            doubled = Cat(Const(0, 1 + MAXIMUM_LEFT), value).as_signed()
            rounded = round_shift_window(m, doubled, amount, VECTOR.bits, self.active)
            m.d.comb += [
                result.eq(Cat(rounded[: VECTOR.bits - 1], rounded[-1])),
                Cat(over, least).eq(Cat(beyond(rounded, VECTOR.bits))),
            ]
        return m
