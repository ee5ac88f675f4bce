"""The post unit's arithmetic: V lanes, one word a cycle, no control.

    y1 = saturate(rshift(sum * gain, drop))           y3 = saturate(y2 + bias)
    y2 = scale(y1 * mantissa, shift)                  y4 = saturate(y3 + residual)

Source: golden/units/post.py. Every result is registered; nothing stalls.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Value, signed
from amaranth.lib.wiring import Component, In, Out

from hdl.lib.arithmetic import ROUND_SHIFT_CYCLES, round_shift_window, saturate
from hdl.lib.ecp5 import masked_sum
from hdl.lib.pipeline import Carried, Pipeline, delayed
from hdl.lib.shapes import exponents_layout, parameter_layout, sums_layout, word_layout
from hdl.units.post.stages import STAGES
from isa.configurations import Configuration
from isa.formats import DROP, GAIN, MAXIMUM_LEFT_SHIFT, VECTOR

SHIFT_BITS = 13  # signed: the instruction's shift less three exponents, with room to spare
_AMOUNT_BITS = 6
_PRODUCT = 2  # registers in a product


class PostArithmetic(Component):
    """Requantisation of one word a cycle. An input is taken at the stage of `STAGES` beside it:

    parameters   parameters: gain (8 bits) and drop (6 bits above it) of each lane
    sums         sums
    gained       mantissa (unsigned), a cycle before: it goes to all lanes
    gained       shift and exponents: lane l shifts right by shift - exponents[l], negative is left,
                 at most 24
    scaled       bias (0 where there is none)
    biased       residual (0 where there is none), mask (lanes whose result counts)
    result       result (0 in masked lanes), clipped: how many of the four steps saturated in lanes
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
        pipeline = Pipeline(m, STAGES)
        mantissa = pipeline.carry(self.mantissa, ("gained", -1))["gained"]
        lanes = range(self.c.vector_lanes)
        clipped = [self._lane(m, platform, pipeline, lane, mantissa) for lane in lanes]

        # The steps before the last are counted a cycle earlier, by pairs of lanes.
        mask = pipeline.carry(self.mask, "biased")
        early = [Cat(steps[k]["biased"] for steps in clipped) & mask["biased"] for k in range(3)]
        counts = [
            _count([flags[i] for flags in early for i in (lane, lane + 1)]) for lane in lanes[::2]
        ]
        counts = [pipeline.carry(n, "biased", name="clipped")["result"] for n in counts]
        last = Cat(steps[3]["result"] for steps in clipped) & mask["result"]
        m.d.comb += self.clipped.eq(_count([*counts, _count([last[lane] for lane in lanes])]))
        return m

    def _lane(
        self, m: Module, platform, pipeline: Pipeline, lane: int, mantissa: Value
    ) -> tuple[Carried, ...]:
        """Builds a lane; returns, for each of the four steps, whether it saturated."""

        def carry(value, name: str, start: str, after: int = 0) -> Carried:
            return pipeline.carry(value, start, after=after, name=f"{name}_{lane}")

        def clip(value, name: str, start: str, after: int = 0) -> tuple[Carried, Carried]:
            value, clipped = saturate(value, VECTOR.bits)
            return carry(value, name, start, after), carry(clipped, f"{name}_clipped", start, after)

        parameter = self.parameters[lane]
        gain = carry(parameter[: GAIN.bits], "gain", "parameters")["sums"]
        drop = carry(parameter[GAIN.bits : GAIN.bits + DROP.bits], "drop", "parameters")["product"]
        gained = _product(m, platform, self.sums[lane], gain)
        gained = carry(gained, "gained", "sums", _PRODUCT)["product"]
        doubled = Cat(Const(0, 1), gained).as_signed()
        window = round_shift_window(m, doubled, drop, VECTOR.bits)
        y1, clipped1 = clip(window, "y1", "product", ROUND_SHIFT_CYCLES)

        right = carry(self.shift - self.exponents[lane], "shift", "gained")["gained", 1]
        amount = carry(_amount(right), "amount", "gained", 1)["scaling"]
        scaled = _product(m, platform, y1["gained"], mantissa)
        scaled = carry(scaled, "scaled", "gained", _PRODUCT)["scaling"]
        doubled = Cat(Const(0, 1 + MAXIMUM_LEFT_SHIFT), scaled).as_signed()
        window = round_shift_window(m, doubled, amount, VECTOR.bits)
        y2, clipped2 = clip(window, "y2", "scaling", ROUND_SHIFT_CYCLES)

        y3, clipped3 = clip(y2["scaled"] + self.bias[lane], "y3", "scaled")
        total, clipped4 = saturate(y3["biased"] + self.residual[lane], VECTOR.bits)
        y4 = carry(Mux(self.mask[lane], total, 0), "y4", "biased")
        m.d.comb += self.result[lane].eq(y4["result"])
        return clipped1, clipped2, clipped3, carry(clipped4, "y4_clipped", "biased")


def _product(m: Module, platform, value: Value, code: Value) -> Value:
    """value times the unsigned code of 2**n bits, _PRODUCT cycles later: a tree of n carry chains,
    with registers behind its first ones, for the clock."""
    bits = len(value) + 2
    wide = Cat(value, value[-1].replicate(2))
    double = Cat(Const(0, 1), wide)[:bits]
    parts = []
    for low, high in zip(code[::2], code[1::2], strict=True):
        some = masked_sum(m, platform, wide, low.replicate(bits), double, high.replicate(bits))
        parts.append(delayed(m, some.as_signed()))
    step = 2
    while len(parts) > 1:
        parts = [
            Cat(low[:step], (low >> step) + high)[: len(high) + step].as_signed()
            for low, high in zip(parts[::2], parts[1::2], strict=True)
        ]
        step *= 2
    return delayed(m, parts[0])


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
