"""Codes of a word at the vector's exponent, for the key/value store and for modulation (gate x up):
there one vector fires, and the other is gathered element by element."""

from amaranth.hdl import Cat, Const, Module, Mux, Value, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hdl.lib.pipeline import Pipeline, Stages
from hdl.units.vector.scaler import AMOUNT_BITS, MAXIMUM_LEFT, MAXIMUM_RIGHT, SIZE_BITS
from isa.formats import CODE, VECTOR

LENGTH_BITS = VECTOR.bits.bit_length()
BELOW_BITS = VECTOR.bits - CODE.bits  # of a source, that no code shows at the largest length


def below(found: Value, places: Value) -> Value:
    """Which bits of a source are less than half of its code's last, from the groups_of_four and
    places_of_four of the source's magnitude: those that it has a bit above, or at."""
    result = []
    for i in range(CODE.bits, VECTOR.bits):
        group, place = divmod(i + 1, 4)
        low, high = places[2 * group], places[2 * group + 1]
        inside = (found[group], low | high, high, low & high)[place]
        result.append(Cat(inside, found[group + 1 :]).any())
    return Cat(result)


class Modulator(wiring.Component):
    """source coded at exponent length - 7: its size + up (0..127) and sign, and codes; and the
    amount by which the Scaler makes scale(code * operand, product_shift - exponent) of the product.
    `length` (0..24) is the bit length of the OR of the source's magnitudes, `below` what below()
    gives of it. In the next cycle amount is 0 with `mute`, size, up and negative are with `idle`,
    and codes are without `coding`.

    The outputs come at the stages of their names; up and negative with size.
    """

    STAGES = Stages(source=0, size=1, codes=1, amount=2)

    def __init__(self, lanes: int):
        super().__init__(
            {
                "source": In(signed(VECTOR.bits)).array(lanes),
                "length": In(LENGTH_BITS),
                "below": In(BELOW_BITS),
                "mute": In(1),
                "idle": In(1),
                "coding": In(1),
                "product_shift": In(6),
                "size": Out(unsigned(SIZE_BITS)).array(lanes),
                "up": Out(1).array(lanes),
                "negative": Out(1).array(lanes),
                "codes": Out(signed(CODE.bits)).array(lanes),
                "amount": Out(unsigned(AMOUNT_BITS)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        pipeline = Pipeline(m, self.STAGES)
        # The right shift, counted from the largest left shift; the same for all lanes.
        limit = MAXIMUM_LEFT + MAXIMUM_RIGHT
        wanted = self.product_shift + (VECTOR.bits - self.length)
        wanted = pipeline.carry(wanted, "source", name="wanted")["size"]
        amount = pipeline.carry(Mux(wanted > limit, limit, wanted), "size", name="amount",
                                shape=range(limit + 1))["amount", -1]  # fmt: skip
        amount = pipeline.carry(Mux(self.mute, 0, amount), ("amount", -1), name="amount")
        m.d.comb += self.amount.eq(amount["amount"])
        for lane, source in enumerate(self.source):
            # |source| < 2**length: eight bits are left, the code's size and the half. |source| is
            # the complement and 1, which gets through to them where all bits below are 0.
            shifted = (Cat(Const(0, CODE.bits), source) >> self.length)[: CODE.bits]
            doubled = Mux(self.idle, 0, shifted ^ source[-1].replicate(CODE.bits))
            carry = source[-1] & ~(source[:BELOW_BITS] & self.below).any()
            doubled, carry, negative = (
                pipeline.carry(value, "source", name=name)["size"]
                for name, value in (("doubled", doubled), ("carry", carry & ~self.idle),
                                    ("negative", source[-1] & ~self.idle))
            )  # fmt: skip
            # Only 127 rounds up to 128: it is cut.
            size, up = self.size[lane], self.up[lane]
            # One chain: -(size + up) is ~size + (1 - up).
            code = (size ^ negative.replicate(CODE.bits)) + (up ^ negative)
            code = Mux(self.coding, code[: CODE.bits], 0)
            code = pipeline.carry(code, "size", name="code", shape=signed(CODE.bits))
            m.d.comb += [
                size.eq(doubled[1:]),
                up.eq((doubled[0] | carry) & ~doubled[1:].all()),
                self.negative[lane].eq(negative),
                self.codes[lane].eq(code["codes"]),
            ]
        return m
