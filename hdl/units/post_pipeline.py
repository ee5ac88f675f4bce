"""The post unit's arithmetic: V lanes, one word a cycle, no control.

    y1 = saturate(rshift(sum * gain, drop))           y3 = saturate(y2 + bias)
    y2 = scale(y1 * mantissa, shift)                  y4 = saturate(y3 + residual)

Source: golden/units/post.py. Every result is registered; nothing stalls.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import Component, In, Out

from hdl.lib.arithmetic import digits_layout, modulate_digits, recode, saturate
from hdl.lib.shapes import exponents_layout, parameter_layout, sums_layout, word_layout
from isa.configurations import Configuration
from isa.formats import DROP, GAIN, MAXIMUM_LEFT_SHIFT, VECTOR

SHIFT_BITS = 13  # signed: the instruction's shift less three exponents, with room to spare
_AMOUNT_BITS = 6
_FINE_BITS = 3
# Bits that the coarse shift keeps. A value that does not fit, with the bit below its sign made to
# differ from it, exceeds the vector format after any fine shift and the rounding.
_WINDOW_BITS = VECTOR.bits + 1 + (1 << _FINE_BITS)


class PostPipeline(Component):
    """Ports carry one word a cycle; a word's inputs come in the cycles that count from its start:

    cycle 1   parameters: gain (8 bits) and drop (6 bits above it) of each lane
    cycle 2   sums
    cycle 5   mantissa (unsigned), shift and exponents: lane l shifts right by
              shift - exponents[l], negative is left, at most 24
    cycle 10  bias (0 where there is none)
    cycle 11  residual (0 where there is none), mask (lanes whose result counts)
    cycle 12  result (0 in masked lanes), clipped: how many of the four steps saturated in lanes
              that count, one bit for each step and lane
    """

    def __init__(self, c: Configuration) -> None:
        self.c = c
        lanes = c.vector_lanes
        super().__init__(
            {
                "parameters": In(parameter_layout(c)),
                "sums": In(sums_layout(c)),
                "mantissa": In(GAIN.bits),
                "shift": In(signed(SHIFT_BITS)),
                "exponents": In(exponents_layout(c)),
                "bias": In(word_layout(c)),
                "residual": In(word_layout(c)),
                "mask": In(lanes),
                "result": Out(word_layout(c)),
                "clipped": Out(ArrayLayout(lanes, 4)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        mantissa = _register(m, recode(self.mantissa), "mantissa_6")
        clipped = [self._lane(m, lane, mantissa) for lane in range(self.c.vector_lanes)]
        for step, ready in enumerate((6, 10, 11, 12)):
            flags = Cat(flag[step] for flag in clipped)
            for cycle in range(ready, 12):
                flags = _register(m, flags, f"clipped{step}_{cycle + 1}")
            mask = _register(m, self.mask, f"mask{step}")
            m.d.comb += self.clipped[step].eq(flags & mask)
        return m

    def _lane(self, m: Module, lane: int, mantissa: Value) -> tuple[Value, ...]:
        """Builds a lane; returns its saturation flags, ready in cycles 6, 10, 11 and 12."""

        def register(value, name: str) -> Signal:
            return _register(m, value, f"{name}_{lane}")

        def clip(value, name: str) -> tuple[Signal, Signal]:
            clipped, flag = saturate(value, VECTOR.bits)
            return register(clipped, name), register(flag, f"{name}_flag")

        parameter = self.parameters[lane]
        gain = register(recode(parameter[: GAIN.bits]), "gain_2")
        drop = register(parameter[GAIN.bits : GAIN.bits + DROP.bits], "drop_2")
        assert len(gain) == digits_layout(GAIN.bits).size

        product = register(modulate_digits(self.sums[lane], gain, GAIN.bits), "product_3")
        drop = register(drop, "drop_3")
        doubled = Cat(Const(0, 1), product).as_signed()
        y1, flag1 = clip(_rounded(m, doubled, drop, f"y1_{lane}"), "y1_6")

        shift = register(self.shift - self.exponents[lane], "shift_6")
        amount = register(_amount(shift), "amount_7")
        product = register(modulate_digits(y1, mantissa, GAIN.bits), "product_7")
        doubled = Cat(Const(0, 1 + MAXIMUM_LEFT_SHIFT), product).as_signed()
        y2, flag2 = clip(_rounded(m, doubled, amount, f"y2_{lane}"), "y2_10")

        y3, flag3 = clip(y2 + self.bias[lane], "y3_11")
        total, beyond = saturate(y3 + self.residual[lane], VECTOR.bits)
        y4 = register(Mux(self.mask[lane], total, 0), "y4_12")
        m.d.comb += self.result[lane].eq(y4)
        return flag1, flag2, flag3, register(beyond, "y4_12_flag")


def _register(m: Module, value, name: str) -> Signal:
    """A register without reset: what it holds counts only where its word is valid."""
    value = Value.cast(value)
    register = Signal(value.shape(), reset_less=True, name=name)
    m.d.sync += register.eq(value)
    return register


def _amount(shift: Value) -> Value:
    """Right shift, 0..63, of a product that was shifted left by 24 already.

    Beyond 39 nothing is left of a product, so 63 stands for all that is more.
    """
    above = shift + MAXIMUM_LEFT_SHIFT
    limit = (1 << _AMOUNT_BITS) - 1
    return Mux(above < 0, 0, Mux(above > limit, limit, above))[:_AMOUNT_BITS]


def _rounded(m: Module, doubled: Value, amount: Value, name: str) -> Value:
    """doubled * 2**-(amount + 1) rounded half up, two cycles later, wide enough to saturate.

    First by a multiple of 8, of which a window of the low bits remains, then by the rest.
    """
    coarse, sign = amount[_FINE_BITS:], doubled[-1]
    beyond = Const(0, 1)
    for k in range(1 << len(coarse)):
        group = doubled[_WINDOW_BITS - 1 + (k << _FINE_BITS) :][: 1 << _FINE_BITS]
        if len(group):
            beyond = beyond | ((coarse <= k) & Mux(sign, ~group.all(), group.any()))
    low = (doubled >> Cat(Const(0, _FINE_BITS), coarse))[: _WINDOW_BITS - 1]
    window = Cat(low[:-1], Mux(beyond, ~sign, low[-1]), sign).as_signed()
    fine = _register(m, window, f"{name}_window") >> _register(
        m, amount[:_FINE_BITS], f"{name}_fine"
    )
    return _register(m, ((fine + 1) >> 1)[:_WINDOW_BITS].as_signed(), f"{name}_rounded")
