"""What the post unit gathers from the words that it writes: magnitude, maximum, argmax."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import Component, In, Out

from hdl.lib.arithmetic import absolute
from hdl.lib.pipeline import Pipeline
from hdl.lib.shapes import TOKEN_BITS, word_layout, write_port
from hdl.units.post.stages import reduction_stages
from isa.configurations import Configuration
from isa.formats import VECTOR

_LOWEST = -(1 << (VECTOR.bits - 1))  # below every element


def reduce_control_layout() -> StructLayout:
    """What accompanies a word."""
    return StructLayout(
        {
            "valid": 1,
            "first": 1,  # word of the instruction
            "segment_first": 1,  # word of a magnitude segment
            "segment_last": 1,
            "last": 1,
            "write_magnitude": 1,
            "write_maximum": 1,
            "argmax": 1,
            "magnitude": 8,  # register of this segment
            "maximum": 4,
            "join_magnitude": 1,
        }
    )


class PostReduce(Component):
    """Registers the reductions of one word a cycle.

    A word comes with its control and mask (lanes that are elements; the others are 0). Counted from
    there, at the stages of stages.reduction_stages:

    word        magnitude_join asks the register file to OR the magnitude into join_address
    magnitude   magnitude_write, at a segment's last word: the OR over |element| of the segment
    maximum     maximum_write, at the last word: the largest element; and next_token, the index of
                the largest element of the last argmax instruction, the lowest such index
    """

    def __init__(self, c: Configuration) -> None:
        self.c = c
        super().__init__(
            {
                "word": In(word_layout(c)),
                "mask": In(c.vector_lanes),
                "control": In(reduce_control_layout()),
                "magnitude_write": Out(write_port(8, VECTOR.bits)),
                "magnitude_join": Out(1),
                "join_address": Out(8),
                "maximum_write": Out(write_port(4, signed(VECTOR.bits))),
                "next_token": Out(TOKEN_BITS),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        pipeline = Pipeline(m, reduction_stages(self.c))
        control = pipeline.carry(self.control, "word", name="control", reset=True)
        self._magnitude(m, control["magnitude"])
        self._maximum(m, control["largest"])
        return m

    def _magnitude(self, m: Module, control) -> None:
        both = Const(0, VECTOR.bits)
        for element in self.word:
            both = both | absolute(element)
        of_word, before = Signal(VECTOR.bits), Signal(VECTOR.bits)
        m.d.sync += of_word.eq(both)
        port = self.magnitude_write
        m.d.comb += [
            port.enable.eq(control.valid & control.segment_last & control.write_magnitude),
            port.address.eq(control.magnitude),
            self.magnitude_join.eq(self.control.join_magnitude),
            self.join_address.eq(self.control.magnitude),
            port.data.eq(of_word | Mux(control.segment_first, 0, before)),
        ]
        with m.If(control.valid):
            m.d.sync += before.eq(port.data)

    def _maximum(self, m: Module, control) -> None:
        lanes = self.c.vector_lanes
        lane_bits = (lanes - 1).bit_length()
        candidates = [
            (Mux(valid, element, _LOWEST)[: VECTOR.bits].as_signed(), Const(lane, lane_bits))
            for lane, (element, valid) in enumerate(zip(self.word, self.mask, strict=True))
        ]
        # One comparison a cycle: it takes a carry chain and a level of logic for every bit.
        best, better, won = Signal(signed(VECTOR.bits)), Signal(), Signal()
        for level in range(1, lane_bits + 1):
            finalists, candidates = candidates, _registered(m, _halve(candidates), level)
        ((value, lane),) = candidates
        # Whether it is better is compared while its word's last two are, with what will be the
        # best by then: the word before, if that has won, or what is in the register.
        (one, _), (other, _) = finalists
        beats_best, beats_before = Signal(), Signal()
        for beats, opponent in ((beats_best, best), (beats_before, value)):
            m.d.sync += beats.eq(
                Mux(_less(one, other), _less(opponent, other), _less(opponent, one))
            )
        m.d.comb += better.eq(control.first | Mux(won, beats_before, beats_best))
        m.d.sync += won.eq(control.valid & better)

        number, index = Signal(TOKEN_BITS - lane_bits), Signal(TOKEN_BITS)
        word_number = Mux(control.first, 0, number)[: len(number)]
        new_index = Mux(better, Cat(lane, word_number), index)
        with m.If(control.valid & better):
            m.d.sync += [best.eq(value), index.eq(Cat(lane, word_number))]
        with m.If(control.valid):
            m.d.sync += number.eq(word_number + 1)
            with m.If(control.last & control.argmax):
                m.d.sync += self.next_token.eq(new_index)
        m.d.sync += [
            self.maximum_write.enable.eq(control.valid & control.last & control.write_maximum),
            self.maximum_write.address.eq(control.maximum),
        ]
        m.d.comb += self.maximum_write.data.eq(best)


def _less(value: Value, other: Value) -> Value:
    """value < other: a difference's sign comes out of one carry chain, a comparison's of two."""
    return (value - other)[-1]


def _registered(m: Module, candidates: list, level: int) -> list[tuple[Value, Value]]:
    kept = []
    for k, (value, lane) in enumerate(candidates):
        value_kept = Signal(signed(VECTOR.bits), name=f"value_{level}_{k}", reset_less=True)
        lane_kept = Signal(len(lane), name=f"lane_{level}_{k}", reset_less=True)
        m.d.sync += [value_kept.eq(value), lane_kept.eq(lane)]
        kept.append((value_kept, lane_kept))
    return kept


def _halve(candidates: list[tuple[Value, Value]]) -> list[tuple[Value, Value]]:
    """The larger of each pair of neighbours; the lower lane where they are equal."""
    halved = []
    for (value, lane), (other, other_lane) in zip(
        candidates[::2], candidates[1::2], strict=True
    ):
        take = _less(value, other)
        halved.append((Mux(take, other, value).as_signed(), Mux(take, other_lane, lane)))
    return halved
