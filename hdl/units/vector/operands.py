"""What the vector unit reads for a word, from the memories' ports to registers."""

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import In, Out

from hdl.lib.bit_groups import bit_length, grouped_layout
from hdl.lib.pipeline import Pipeline, delayed
from hdl.lib.shapes import word_layout
from hdl.units.vector.modulator import BELOW_BITS, LENGTH_BITS, below
from hdl.units.vector.stages import STAGES
from isa.configurations import Configuration
from isa.formats import TRIGONOMETRIC, VECTOR


def rotation_layout(c: Configuration) -> ArrayLayout:
    """Cosine and sine for each pair of elements of a word."""
    return ArrayLayout(signed(TRIGONOMETRIC.bits), c.vector_lanes)


class OperandFetch(wiring.Component):
    """Registers behind the memories.

    issue    a word's source is on `word` in the next cycle: it is in `source` at the stage of that
             name, and stands there until the next one
    asks     the same of its other operand: `operand` has it three cycles later, and `rotation`,
             where `rotates` is set, the half that `upper` names two cycles later; late_rotation is
             `rotation` of the cycle before. Else both rotations are 0
    magnitude   of the source's segment, with the issue: its bit length, and what modulator.below
             gives of it, at the stage `source`
    """

    def __init__(self, c: Configuration):
        self._c = c
        super().__init__(
            {
                "word": In(word_layout(c)),
                "issue": In(1),
                "asks": In(1),
                "upper": In(1),
                "rotates": In(1),
                "magnitude": In(grouped_layout(VECTOR.bits)),
                "source": Out(word_layout(c)),
                "operand": Out(word_layout(c)),
                "rotation": Out(rotation_layout(c)),
                "late_rotation": Out(rotation_layout(c)),
                "length": Out(LENGTH_BITS),
                "below": Out(BELOW_BITS),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        pipeline = Pipeline(m, STAGES)
        magnitude = pipeline.carry(self.magnitude, "issued", name="magnitude")["read"]
        length = bit_length(magnitude.found, magnitude.places)
        length = pipeline.carry(length, "read", name="length", shape=LENGTH_BITS)
        lost = pipeline.carry(below(magnitude.found, magnitude.places), "read", name="below")
        m.d.comb += [self.length.eq(length["source"]), self.below.eq(lost["source"])]

        source = Signal(word_layout(self._c), reset_less=True)
        with m.If(pipeline.carry(self.issue, "issued", name="issue", reset=True)["read"]):
            m.d.sync += source.eq(self.word)  # a rotation needs it for two cycles
        operand = Signal(word_layout(self._c), reset_less=True)
        upper = delayed(m, self.upper)
        arrives = Signal()
        m.d.sync += arrives.eq(self.asks)
        with m.If(arrives):
            m.d.sync += operand.eq(self.word)
        # The half is picked behind the register; neither is while no rotation is under way.
        picks = Signal(2)
        with m.If(~self.rotates):
            m.d.sync += picks.eq(0)
        with m.Elif(arrives):
            m.d.sync += picks.eq(Cat(~upper, upper))
        both, half = operand.as_value(), len(self.rotation.as_value())
        lower_half, upper_half = both[:half], both[half : 2 * half]
        picked = (lower_half & picks[0].replicate(half)) | (upper_half & picks[1].replicate(half))
        m.d.comb += [
            self.source.eq(source),
            self.operand.eq(delayed(m, operand)),
            self.rotation.as_value().eq(picked),
            self.late_rotation.as_value().eq(delayed(m, picked)),
        ]
        return m
