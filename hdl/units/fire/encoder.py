"""Encoder: a vector memory word becomes spike codes at an exponent (golden.units.fixed.encode)."""

from amaranth.hdl import Cat, Const, Module, Signal, Value, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hdl.lib.ecp5 import carry_sum
from hdl.lib.shapes import codes_layout, word_layout
from isa.configurations import Configuration
from isa.formats import CODE, EXPONENT, VECTOR

LATENCY = 3
"""Cycles from a word to its codes: registers for |v|, for the shifted |v|, for the code."""
MINIMUM_EXPONENT = 1 - CODE.bits  # of a vector of zeros
MAXIMUM_EXPONENT = VECTOR.bits - CODE.bits + 1


class Encoder(wiring.Component):
    """code = sign(v) * min(127, |v| * 2**-exponent rounded half up), for V elements.

    A pipeline without stalls: codes and peak belong to the word, mask and exponent that stood at
    the inputs LATENCY cycles before. exponent is -7..17 and must cover the element as
    `code_exponent` of its magnitude does: |v| < 2**(exponent + 7). Masked lanes (mask 0) may hold
    anything and give code 0. peak is the OR over the codes' magnitudes.
    """

    def __init__(self, c: Configuration) -> None:
        self.c = c
        super().__init__(
            {
                "word": In(word_layout(c)),
                "mask": In(c.vector_lanes),
                "exponent": In(signed(EXPONENT.bits)),
                "codes": Out(codes_layout(c)),
                "peak": Out(unsigned(CODE.bits - 1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # Every |v| is first shifted left as far as the smallest exponent asks, and by one more
        # bit, which holds the half; then one right shift serves all exponents.
        limit = MAXIMUM_EXPONENT - MINIMUM_EXPONENT
        shift = Signal(range(limit + 1))
        m.d.sync += shift.eq(self.exponent - MINIMUM_EXPONENT)
        magnitudes = []
        nothing = Const(0, VECTOR.bits)
        for lane in range(self.c.vector_lanes):
            size = Signal(VECTOR.bits - 1, name=f"size_{lane}")
            doubled = Signal(CODE.bits, name=f"doubled_{lane}")
            negative = [Signal(name=f"negative_{stage}_{lane}") for stage in range(2)]
            value = Value.cast(self.word[lane])
            # |value| without the multiplexer that a negation would need behind its carry chain.
            size_in = carry_sum(
                m, platform, nothing, _inverted, nothing, value,
                value[-1].replicate(VECTOR.bits), value[-1],
            )  # fmt: skip
            with m.If(self.mask[lane]):
                m.d.sync += size.eq(size_in)
            with m.Else():
                m.d.sync += size.eq(0)
            m.d.sync += [negative[0].eq(value[-1]), negative[1].eq(negative[0])]
            m.d.sync += doubled.eq((size << (1 - MINIMUM_EXPONENT)) >> shift)

            # Rounding and negation take the same carry: -(h + up) = ~h + (1 - up).
            half, sign = doubled[1:], negative[1]
            up = doubled[0] & ~half.all()  # not beyond 127
            magnitude = Signal(CODE.bits - 1, name=f"magnitude_{lane}")
            m.d.comb += magnitude.eq(half + up)
            code = carry_sum(
                m, platform, nothing[: CODE.bits], _inverted, nothing[: CODE.bits],
                Cat(half, Const(0, 1)), sign.replicate(CODE.bits), up ^ sign,
            )  # fmt: skip
            m.d.sync += self.codes[lane].eq(code.as_signed())
            magnitudes.append(magnitude)
        bits = zip(*magnitudes, strict=True)
        m.d.sync += self.peak.eq(Cat(Cat(*column).any() for column in bits))
        return m


def _inverted(b, c, d):
    """An operand for `carry_sum`: c, inverted where d is set."""
    return c ^ d
