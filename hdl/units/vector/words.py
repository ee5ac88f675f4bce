"""Words of the vector unit's instruction that are still to be issued, and their segments."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hdl.lib.counters import CountDown
from hdl.lib.shapes import POSITION_BITS
from isa.configurations import Configuration
from isa.instructions import VECTOR as INSTRUCTION


class WordCount(wiring.Component):
    """Counts an instruction's words, and those of the present segment.

    ready   an instruction may be taken: `offered` is loaded in every such cycle, with `valid` it is
            the one under way. With `weighs` its words are those of the scores up to `position`
    issue   the present word is issued; it comes late, and enables registers only

    Of the present word: `last` of the instruction, segment_end (the last of its segment). `none`:
    no word is left.
    """

    def __init__(self, c: Configuration):
        self._lane_bits = c.vector_lanes.bit_length() - 1
        super().__init__(
            {
                "ready": In(1),
                "valid": In(1),
                "offered": In(INSTRUCTION.layout()),
                "weighs": In(1),
                "position": In(POSITION_BITS),
                "issue": In(1),
                "last": Out(1),
                "segment_end": Out(1),
                "none": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        offered = self.offered
        left = CountDown(16, "words")
        segment, segment_left = Signal(8), Signal(16)  # 0: no end before the last word
        short, one_in_segment = Signal(), Signal()  # each is 1, compared a word before
        m.d.comb += [
            self.last.eq(left.last),
            self.none.eq(left.none),
            self.segment_end.eq(self.last | one_in_segment),
        ]
        more = self.position >> self._lane_bits
        size = Mux(self.weighs, 0, offered.segment)
        with m.If(self.ready | self.issue):
            m.d.sync += [
                *left.step(),
                segment_left.eq(Mux(self.segment_end, segment, segment_left - 1)),
                one_in_segment.eq(Mux(self.segment_end, short, segment_left == 2)),
            ]
            with m.If(self.ready):
                m.d.sync += [
                    *left.load(
                        Mux(self.weighs, more + 1, offered.count),
                        last=Mux(self.weighs, more == 0, offered.count == 1),
                        none=~self.valid | (~self.weighs & (offered.count == 0)),
                    ),
                    segment_left.eq(size),
                    one_in_segment.eq(size == 1),
                ]
        with m.If(self.ready & self.valid):
            m.d.sync += [segment.eq(size), short.eq(size == 1)]
        return m
