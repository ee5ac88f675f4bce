"""The post unit's arithmetic: V lanes, one word a cycle, no control.

    y1 = saturate(rshift(sum * gain, drop))           y3 = saturate(y2 + bias)
    y2 = scale(y1 * mantissa, shift)                  y4 = saturate(y3 + residual)

Source: golden/units/post.py. Every result is registered; nothing stalls.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib.wiring import Component, In, Out

from hdl.lib.arithmetic import round_shift_window, saturate
from hdl.lib.ecp5 import masked_sum
from hdl.lib.shapes import exponents_layout, parameter_layout, sums_layout, word_layout
from isa.configurations import Configuration
from isa.formats import DROP, GAIN, MAXIMUM_LEFT_SHIFT, VECTOR

SHIFT_BITS = 13  # signed: the instruction's shift less three exponents, with room to spare
_AMOUNT_BITS = 6


class PostPipeline(Component):
    """Ports carry one word a cycle; a word's inputs come in the cycles that count from its start:

    cycle 1   parameters: gain (8 bits) and drop (6 bits above it) of each lane
    cycle 2   sums
    cycle 6   mantissa (unsigned)
    cycle 7   shift and exponents: lane l shifts right by shift - exponents[l], negative is left,
              at most 24
    cycle 12  bias (0 where there is none)
    cycle 13  residual (0 where there is none), mask (lanes whose result counts)
    cycle 14  result (0 in masked lanes), clipped: how many of the four steps saturated in lanes
              that count
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
                "clipped": Out(range(4 * lanes + 1)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        mantissa = _register(m, self.mantissa, "mantissa_7")
        clipped = [self._lane(m, platform, lane, mantissa) for lane in range(self.c.vector_lanes)]
        lanes, early = range(len(clipped)), []
        for step, ready in enumerate((7, 12, 13)):
            flags = Cat(flag[step] for flag in clipped)
            for cycle in range(ready, 13):
                flags = _register(m, flags, f"clipped{step}_{cycle + 1}")
            early.append(flags & self.mask)
        # The steps before the last are counted a cycle earlier, by pairs of lanes.
        pairs = [
            _count([flags[i] for flags in early for i in (lane, lane + 1)]) for lane in lanes[::2]
        ]
        pairs = [_register(m, count, f"clipped_14_{i}") for i, count in enumerate(pairs)]
        last = Cat(flag[3] for flag in clipped) & _register(m, self.mask, "mask_14")
        m.d.comb += self.clipped.eq(_count([*pairs, _count([last[lane] for lane in lanes])]))
        return m

    def _lane(self, m: Module, platform, lane: int, mantissa: Value) -> tuple[Value, ...]:
        """Builds a lane; returns its saturation flags, ready in cycles 7, 12, 13 and 14."""

        def register(value, name: str) -> Signal:
            return _register(m, value, f"{name}_{lane}")

        def clip(value, name: str) -> tuple[Signal, Signal]:
            clipped, flag = saturate(value, VECTOR.bits)
            return register(clipped, name), register(flag, f"{name}_flag")

        parameter = self.parameters[lane]
        gain = register(parameter[: GAIN.bits], "gain_2")
        drop = register(parameter[GAIN.bits : GAIN.bits + DROP.bits], "drop_2")

        product = register(_product(m, platform, self.sums[lane], gain, f"sums_3_{lane}"),
                           "product_4")
        drop = register(register(drop, "drop_3"), "drop_4")
        doubled = Cat(Const(0, 1), product).as_signed()
        y1, flag1 = clip(round_shift_window(m, doubled, drop, VECTOR.bits), "y1_7")

        shift = register(self.shift - self.exponents[lane], "shift_8")
        amount = register(_amount(shift), "amount_9")
        product = register(_product(m, platform, y1, mantissa, f"y1_8_{lane}"), "product_9")
        doubled = Cat(Const(0, 1 + MAXIMUM_LEFT_SHIFT), product).as_signed()
        y2, flag2 = clip(round_shift_window(m, doubled, amount, VECTOR.bits), "y2_12")

        y3, flag3 = clip(y2 + self.bias[lane], "y3_13")
        total, beyond = saturate(y3 + self.residual[lane], VECTOR.bits)
        y4 = register(Mux(self.mask[lane], total, 0), "y4_14")
        m.d.comb += self.result[lane].eq(y4)
        return flag1, flag2, flag3, register(beyond, "y4_14_flag")


def _register(m: Module, value, name: str) -> Signal:
    """A register without reset: what it holds counts only where its word is valid."""
    value = Value.cast(value)
    register = Signal(value.shape(), reset_less=True, name=name)
    m.d.sync += register.eq(value)
    return register


def _product(m: Module, platform, value: Value, code: Value, name: str) -> Value:
    """value times the unsigned code of 2**n bits, a cycle later: a tree of n carry chains, with
    registers behind its first ones, for the clock."""
    bits = len(value) + 2
    wide = Cat(value, value[-1].replicate(2))
    double = Cat(Const(0, 1), wide)[:bits]
    parts = []
    for k, (low, high) in enumerate(zip(code[::2], code[1::2], strict=True)):
        some = masked_sum(m, platform, wide, low.replicate(bits), double, high.replicate(bits))
        parts.append(_register(m, some.as_signed(), f"{name}_{k}"))
    step = 2
    while len(parts) > 1:
        parts = [
            Cat(low[:step], (low >> step) + high)[: len(high) + step].as_signed()
            for low, high in zip(parts[::2], parts[1::2], strict=True)
        ]
        step *= 2
    return parts[0]


def _count(values: list[Value]) -> Value:
    """The sum, as a tree."""
    while len(values) > 1:
        sums = [a + b for a, b in zip(values[::2], values[1::2], strict=False)]
        values = sums + values[2 * len(sums) :]
    return values[0]


def _amount(shift: Value) -> Value:
    """Right shift, 0..63, of a product that was shifted left by 24 already.

    Beyond 39 nothing is left of a product, so 63 stands for all that is more.
    """
    above = shift + MAXIMUM_LEFT_SHIFT
    limit = (1 << _AMOUNT_BITS) - 1
    return Mux(above < 0, 0, Mux(above > limit, limit, above))[:_AMOUNT_BITS]
