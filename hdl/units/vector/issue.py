"""The vector unit's instruction under way: which words it reads when, and when it is done."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.lib.counters import Occupancy
from hdl.lib.shapes import POSITION_BITS
from hdl.units.vector.addresses import ReadAddresses
from hdl.units.vector.head_exponents import EXPONENT_ADDRESS_BITS
from hdl.units.vector.magnitude import MAGNITUDE_ADDRESS_BITS
from hdl.units.vector.words import WordCount
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
        c, new = self._c, self.instruction.payload
        m.submodules.words = words = WordCount(c)
        m.submodules.addresses = addresses = ReadAddresses(c)
        m.submodules.under_way = under_way = Occupancy(self._words)
        weighs = new.operation.matches(Operation.SOFTMAX, Operation.GATE)
        rotates = new.operation == Operation.ROTATE
        two = rotates | (new.operation == Operation.MODULATE)
        ready = self.instruction.ready
        accept = self.instruction.valid & ready

        # Addresses on the ports, as long as there is room for all that is under way.
        asked, granted, source_next = Signal(), Signal(), Signal()
        m.d.comb += [
            self.request.eq(~words.none & ~under_way.full),
            granted.eq(self.request & self.grant),
            source_next.eq(asked | ~self.two),
            self.asks.eq(granted & ~source_next),
            self.issue.eq(granted & source_next),
        ]
        with m.If(ready | granted):
            m.d.sync += asked.eq(~ready & ~source_next)

        # The last of the words and of the scalar, in whatever order: done comes out of a register.
        running, scalar_pending = Signal(), Signal()
        m.d.comb += ready.eq(~running | self.done)
        m.d.sync += self.done.eq(
            running
            & ~self.done
            & words.none
            & (under_way.none | (under_way.one & self.popped))
            & (~scalar_pending | self.scalar_valid)
        )
        with m.If(self.scalar_valid):
            m.d.sync += scalar_pending.eq(0)
        with m.If(self.done):
            m.d.sync += running.eq(0)
        with m.If(accept):
            m.d.sync += [
                *(self.operations[o].eq(new.operation == o) for o in Operation),
                running.eq(1),
                self.weighs.eq(weighs),
                self.store.eq(new.operation.matches(Operation.STORE_KEY, Operation.STORE_VALUE)),
                self.two.eq(two),
                scalar_pending.eq(weighs),
                self.maximum_at.eq(new.maximum),
            ]

        m.d.comb += [
            words.ready.eq(ready),
            words.valid.eq(self.instruction.valid),
            words.offered.eq(new),
            words.weighs.eq(weighs),
            words.position.eq(self.position),
            words.issue.eq(self.issue),
            self.last.eq(words.last),
            self.segment_end.eq(words.segment_end),
            under_way.enter.eq(self.issue),
            under_way.leave.eq(self.popped),
            addresses.ready.eq(ready),
            addresses.offered.eq(new),
            addresses.offered_rotates.eq(rotates),
            addresses.offered_two.eq(two),
            addresses.rotation_base.eq(self.rotation_base),
            addresses.rotates.eq(self.operations[Operation.ROTATE]),
            addresses.two.eq(self.two),
            addresses.source_next.eq(source_next),
            addresses.granted.eq(granted),
            addresses.asks.eq(self.asks),
            addresses.issue.eq(self.issue),
            addresses.segment_end.eq(self.segment_end),
            self.address.eq(addresses.address),
            self.upper.eq(addresses.upper),
            self.exponent_at.eq(addresses.exponent_at),
            self.magnitude_at.eq(addresses.magnitude_at),
        ]
        return m
