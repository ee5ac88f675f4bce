"""Weights of attention: softmax without a division, or the gate that replaces it."""

from amaranth.hdl import Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hdl.lib.pipeline import Pipeline, Stages
from hdl.lib.shapes import scalar_layout, table_write
from hdl.units.vector.functions import EXP2_ARGUMENT_BITS, SUM_BITS, Exp2, Inverse
from hdl.units.vector.scaler import AMOUNT_BITS, MAXIMUM_LEFT
from isa.contents import EMPTY, Contents
from isa.formats import EXPONENT, VECTOR

_MAXIMUM_ALIGNMENT = 31  # a probability shifted right by more than this is 0 anyway
_WEIGHT_BITS = VECTOR.bits - 1  # of a score that is not negative; exp2 gives fewer


class Softmax(wiring.Component):
    """Words of scores in, words of weights out; after the last, one scalar.

    weight = p = 2**-(maximum - score) where `present`, else 0; the Scaler aligns it by `amount`,
    which makes p >> min(alignment - exponent, 31), rounded half up; scalar = 1/sum(p) *
    2**alignment. The sum must stay below 2**32. With `gate` p = max(score, 0) instead, and every
    element that is present counts 1 in the sum. `valid` marks a word, `last` with it the last one.
    `exponents` come a cycle after their scores. The rest is constant while words come; without
    `active` weight and amount are 0.

    weight and amount come at the stage `weight`, behind logic without a register; the scalar, with
    scalar_valid, at `scalar` of the last word.
    """

    STAGES = Stages(
        scores=0,
        argument=1,  # of exp2, or the gate's weight
        weight=Exp2.LATENCY,
        part=1,  # of the sum, from one word
        total=1,
        scalar=Inverse.LATENCY,
    )

    def __init__(self, lanes: int, contents: Contents = EMPTY, block: bool = False):
        self._contents, self._block = contents, block
        super().__init__(
            {
                "scores": In(signed(VECTOR.bits)).array(lanes),
                "present": In(1).array(lanes),
                "exponents": In(signed(EXPONENT.bits)).array(lanes),
                "valid": In(1),
                "last": In(1),
                "gate": In(1),
                "active": In(1),
                "maximum": In(signed(VECTOR.bits)),
                "alignment": In(signed(EXPONENT.bits)),
                "weight": Out(unsigned(_WEIGHT_BITS)).array(lanes),
                "amount": Out(unsigned(AMOUNT_BITS)).array(lanes),
                "scalar": Out(scalar_layout()),
                "scalar_valid": Out(1),
                "tables": In(table_write()),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        pipeline = Pipeline(m, self.STAGES)
        lanes = len(self.scores)
        m.submodules.exp2 = exp2 = Exp2(lanes, self._contents, self._block)
        reciprocal = Inverse(contents=self._contents, block=self._block)
        m.submodules.reciprocal = reciprocal
        for part in (exp2, reciprocal):
            wiring.connect(m, part.tables, wiring.flipped(self.tables))

        counts = [self._lane(m, pipeline, exp2, lane) for lane in range(lanes)]
        while len(counts) > 1:
            counts = [a + b for a, b in zip(counts[::2], counts[1::2], strict=True)]
        part = pipeline.carry(counts[0], "weight", name="part")["part"]
        total, first = Signal(SUM_BITS, reset_less=True), Signal(init=1)
        valid = pipeline.carry(self.valid, "scores", name="valid", reset=True)
        last = pipeline.carry(self.last, "scores", name="last", reset=True)
        with m.If(valid["part"]):
            m.d.sync += [total.eq(Mux(first, 0, total) + part), first.eq(last["part"])]
        m.d.comb += [
            reciprocal.value.eq(total),
            self.scalar.mantissa.eq(reciprocal.mantissa),
            self.scalar.exponent.eq(reciprocal.exponent + self.alignment),
            self.scalar_valid.eq(valid["scalar"] & last["scalar"]),
        ]
        return m

    def _lane(self, m: Module, pipeline: Pipeline, exp2: Exp2, lane: int) -> Value:
        """Builds a lane; returns what it adds to the sum, at the stage `weight`."""
        score, late = self.scores[lane], ("weight", -1)
        positive = Mux(score < 0, 0, score)
        # One register for both: the argument of exp2, or the gate's weight.
        argument = Mux(self.gate, positive, self.maximum - score)
        argument = pipeline.carry(argument, "scores", name="argument", shape=EXP2_ARGUMENT_BITS)
        present = pipeline.carry(self.present[lane], "scores", name="present")[late]
        counts = present & self.active & self.gate
        gated = Mux(counts, argument[late][:_WEIGHT_BITS], 0)
        gated = pipeline.carry(gated, late, name="gated")["weight"]
        counts = pipeline.carry(counts, late, name="counts")["weight"]

        # An exponent comes a cycle after its score.
        distance = pipeline.carry(self.alignment - self.exponents[lane], ("scores", 1),
                                  name="distance")["scores", 2]  # fmt: skip
        far = distance > _MAXIMUM_ALIGNMENT
        amount = MAXIMUM_LEFT + Mux(far, _MAXIMUM_ALIGNMENT, distance)
        amount = pipeline.carry(amount, ("scores", 2), name="amount", shape=AMOUNT_BITS)[late]
        amount = pipeline.carry(Mux(self.active, amount, 0), late, name="amount")["weight"]
        m.d.comb += [
            exp2.argument[lane].eq(argument["argument"]),
            exp2.absent[lane].eq(~present | ~self.active | self.gate),
            self.weight[lane].eq(gated | exp2.value[lane]),
            self.amount[lane].eq(amount),
        ]
        return exp2.value[lane] | counts
