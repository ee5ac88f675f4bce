"""Weights of attention: softmax without a division, or the gate that replaces it."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hdl.lib.pipeline import delayed
from hdl.lib.shapes import scalar_layout, table_write
from hdl.units.vector.functions import EXP2_ARGUMENT_BITS, SUM_BITS, Exp2, Inverse
from hdl.units.vector.scaler import AMOUNT_BITS, MAXIMUM_LEFT
from isa.contents import EMPTY, Contents
from isa.formats import EXPONENT, VECTOR

_MAXIMUM_ALIGNMENT = 31  # a probability shifted right by more than this is 0 anyway
_WEIGHT_BITS = VECTOR.bits - 1  # of a score that is not negative; exp2 gives fewer
_ALIGN_CYCLES = 4  # from scores to weights
_SCALAR_CYCLES = 4  # from the last sum of a word to the scalar


class Softmax(wiring.Component):
    """Words of scores in, words of weights out; after the last, one scalar.

    weight = p = 2**-(maximum - score) where `present`, else 0; the Scaler aligns it by `amount`,
    which makes p >> min(alignment - exponent, 31), rounded half up; scalar = 1/sum(p) *
    2**alignment. The sum must stay below 2**32. With `gate` p = max(score, 0) instead, and every
    element that is present counts 1 in the sum. `valid` marks a word, `last` with it the last one.
    `exponents` come a cycle after their scores. The rest is constant while words come; without
    `active` weight and amount are 0.

    Latency: weight and amount 4 cycles, then combinational; scalar_valid 9 cycles after the last
    word.
    """

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
        lanes = len(self.scores)
        m.submodules.exp2 = exp2 = Exp2(lanes, self._contents, self._block)
        reciprocal = Inverse(contents=self._contents, block=self._block)
        m.submodules.reciprocal = reciprocal
        for part in (exp2, reciprocal):
            wiring.connect(m, part.tables, wiring.flipped(self.tables))

        counts = []  # what each lane adds to the sum
        for lane in range(lanes):
            score = self.scores[lane]
            positive = Mux(score < 0, 0, score)
            # One register for both: the argument of exp2, or the gate's weight.
            argument = Mux(self.gate, positive, self.maximum - score)
            argument = delayed(m, argument, shape=EXP2_ARGUMENT_BITS)
            weight = delayed(m, argument[:_WEIGHT_BITS], _ALIGN_CYCLES - 2)
            here = delayed(m, self.present[lane], _ALIGN_CYCLES - 1)
            counts_one = here & self.active & self.gate
            weight = delayed(m, Mux(counts_one, weight, 0))
            distance = delayed(m, self.alignment - self.exponents[lane])
            far = distance > _MAXIMUM_ALIGNMENT
            amount = MAXIMUM_LEFT + Mux(far, _MAXIMUM_ALIGNMENT, distance)
            amount = delayed(m, amount, _ALIGN_CYCLES - 3, shape=AMOUNT_BITS)
            counts.append(exp2.value[lane] | delayed(m, counts_one))
            m.d.comb += [
                exp2.argument[lane].eq(argument),
                exp2.absent[lane].eq(~here | ~self.active | self.gate),
                self.weight[lane].eq(weight | exp2.value[lane]),
                self.amount[lane].eq(delayed(m, Mux(self.active, amount, 0))),
            ]

        while len(counts) > 1:
            counts = [a + b for a, b in zip(counts[::2], counts[1::2], strict=True)]
        part = delayed(m, counts[0])
        total, first = Signal(SUM_BITS, reset_less=True), Signal(init=1)
        steps = _ALIGN_CYCLES + 1 + _SCALAR_CYCLES  # with a reset, unlike the data
        valid, last = Signal(steps), Signal(steps)
        m.d.sync += [valid.eq(Cat(self.valid, valid)), last.eq(Cat(self.last, last))]
        with m.If(valid[_ALIGN_CYCLES]):
            m.d.sync += [total.eq(Mux(first, 0, total) + part), first.eq(last[_ALIGN_CYCLES])]
        m.d.comb += [
            reciprocal.value.eq(total),
            self.scalar.mantissa.eq(reciprocal.mantissa),
            self.scalar.exponent.eq(reciprocal.exponent + self.alignment),
            self.scalar_valid.eq(valid[-1] & last[-1]),
        ]
        return m
