"""The vector unit's instruction under way: which words it reads when, and when it is done."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.lib.shapes import POSITION_BITS
from hdl.units.vector.head_exponents import EXPONENT_ADDRESS_BITS
from hdl.units.vector.magnitude import MAGNITUDE_ADDRESS_BITS
from isa.configurations import Configuration
from isa.instructions import VECTOR as INSTRUCTION
from isa.instructions import Operation


class VectorIssue(wiring.Component):
    """Takes an instruction when none is under way and asks for its words, one `issue` a word.

    `issue` says that a word's source is on the memory's port and granted: exponent, magnitude and
    maximum are addressed with it. Rotation and modulation read the other operand first, which
    `asks` says, a cycle or more before; `upper` then names the half of the word with the rotations.
    `segment_end` and `last` belong to `issue`. At most `words` words are under way; `popped` says
    that one has been written, `scalar_valid` that the scalar is. `done` comes in the cycle after
    the last of both, and with it `instruction` is ready.

    What the instruction is (`operations`, and two of them together: `two` reads two words for each,
    `weighs` is softmax or gate, `store` a key or a value) stands from a cycle after it was taken.
    """

    def __init__(self, c: Configuration, words: int):
        self._c, self._words = c, words
        super().__init__(
            {
                "instruction": In(stream.Signature(INSTRUCTION.layout())),
                "done": Out(1),
                "position": In(POSITION_BITS),
                "rotation_base": In(16),
                "request": Out(1),
                "grant": In(1),
                "address": Out(16),
                "exponent_at": Out(EXPONENT_ADDRESS_BITS),
                "magnitude_at": Out(MAGNITUDE_ADDRESS_BITS),
                "maximum_at": Out(4),
                "issue": Out(1),
                "asks": Out(1),
                "upper": Out(1),
                "segment_end": Out(1),
                "last": Out(1),
                "popped": In(1),
                "scalar_valid": In(1),
                "operations": Out(1).array(len(Operation)),
                "two": Out(1),
                "weighs": Out(1),
                "store": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        c = self._c
        lane_bits = c.vector_lanes.bit_length() - 1
        new = self.instruction.payload
        accept = self.instruction.valid & self.instruction.ready
        running, scalar_pending = Signal(), Signal()
        left = Signal(16)  # words to issue
        one_left, none_left = Signal(), Signal(init=1)  # of `left`, compared a cycle earlier
        segment, segment_left = Signal(8), Signal(16)  # 0: no end before the last word
        short, one_in_segment = Signal(), Signal()  # each is 1
        source_at, operand_at, rotation_at = Signal(16), Signal(16), Signal(16)
        under_way = Signal(range(self._words + 1))  # words issued and not yet written
        none_under_way, one_under_way, full = Signal(init=1), Signal(), Signal()

        # Addresses on the ports, as long as there is room for all that is under way.
        asked, granted, source_next = Signal(), Signal(), Signal()
        m.d.comb += [
            self.request.eq(~none_left & ~full),
            granted.eq(self.request & self.grant),
            source_next.eq(asked | ~self.two),
            self.asks.eq(granted & ~source_next),
            self.issue.eq(granted & source_next),
            self.upper.eq(rotation_at[0]),
            self.last.eq(one_left),
            self.segment_end.eq(one_left | one_in_segment),
            self.instruction.ready.eq(~running | self.done),
        ]
        with m.If(self.issue != self.popped):
            with m.If(self.issue):
                m.d.sync += [
                    under_way.eq(under_way + 1),
                    none_under_way.eq(0),
                    one_under_way.eq(none_under_way),
                    full.eq(under_way == self._words - 1),
                ]
            with m.Else():
                m.d.sync += [
                    under_way.eq(under_way - 1),
                    none_under_way.eq(one_under_way),
                    one_under_way.eq(under_way == 2),
                    full.eq(0),
                ]
        # The last of the words and of the scalar, in whatever order: done comes out of a register.
        m.d.sync += self.done.eq(
            running
            & ~self.done
            & none_left
            & (none_under_way | (one_under_way & self.popped))
            & (~scalar_pending | self.scalar_valid)
        )
        # The address comes out of a register: the memory's readers are far from each other.
        def other(at_rotation, at_operand, rotates) -> Value:
            """Address of a rotation word, of which two are in one, or of an operand."""
            return Mux(rotates, c.vector_depth + at_rotation[1:], at_operand)

        new_weighs = new.operation.matches(Operation.SOFTMAX, Operation.GATE)
        more = self.position >> lane_bits
        segment_new = Mux(new_weighs, 0, new.segment)
        rotates = new.operation == Operation.ROTATE
        two = rotates | (new.operation == Operation.MODULATE)

        # The grant comes late in its cycle: it enables registers and chooses nothing. What counts
        # words loads in every cycle that may take an instruction: no word is left in any of them.
        ready = self.instruction.ready
        with m.If(ready | granted):
            m.d.sync += [
                asked.eq(~ready & ~source_next),
                self.address.eq(
                    Mux(
                        self.two,
                        other(rotation_at, operand_at, self.operations[Operation.ROTATE]),
                        source_at + 1,
                    )
                ),
            ]
            with m.If(~source_next):
                m.d.sync += self.address.eq(source_at)
            with m.If(ready):
                m.d.sync += self.address.eq(
                    Mux(two, other(self.rotation_base, new.operand, rotates), new.source)
                )
        with m.If(ready | self.asks):
            m.d.sync += [
                operand_at.eq(operand_at + 1),
                rotation_at.eq(Mux(self.segment_end, self.rotation_base, rotation_at + 1)),
            ]
            with m.If(ready):
                m.d.sync += [operand_at.eq(new.operand), rotation_at.eq(self.rotation_base)]
        with m.If(ready | self.issue):
            m.d.sync += [
                left.eq(left - 1),
                one_left.eq(left == 2),
                none_left.eq(one_left),
                one_in_segment.eq(Mux(self.segment_end, short, segment_left == 2)),
                source_at.eq(source_at + 1),
                self.exponent_at.eq(self.exponent_at + 1),
                segment_left.eq(Mux(self.segment_end, segment, segment_left - 1)),
                self.magnitude_at.eq(self.magnitude_at + self.segment_end),
            ]
            with m.If(ready):
                m.d.sync += [
                    left.eq(Mux(new_weighs, more + 1, new.count)),
                    one_left.eq(Mux(new_weighs, more == 0, new.count == 1)),
                    none_left.eq(~self.instruction.valid | (~new_weighs & (new.count == 0))),
                    one_in_segment.eq(segment_new == 1),
                    source_at.eq(new.source),
                    self.exponent_at.eq(new.exponent_address),
                    segment_left.eq(segment_new),
                    self.magnitude_at.eq(new.magnitude_in),
                ]
        with m.If(self.scalar_valid):
            m.d.sync += scalar_pending.eq(0)
        with m.If(self.done):
            m.d.sync += running.eq(0)
        with m.If(accept):
            m.d.sync += [
                *(self.operations[o].eq(new.operation == o) for o in Operation),
                running.eq(1),
                self.weighs.eq(new_weighs),
                self.store.eq(new.operation.matches(Operation.STORE_KEY, Operation.STORE_VALUE)),
                self.two.eq(two),
                scalar_pending.eq(new_weighs),
                segment.eq(segment_new),
                short.eq(segment_new == 1),
                self.maximum_at.eq(new.maximum),
            ]
        return m
