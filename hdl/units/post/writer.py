"""Where a word of the post unit goes: its address, and the segment whose magnitude it joins."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.wiring import Component, In, Out

from hdl.units.post.contexts import context_layout
from hdl.units.post.reduce import reduce_control_layout
from isa.configurations import Configuration

_SEGMENT_BITS = 8


class PostWriter(Component):
    """Addresses of results and what PostReduce must know of them.

    valid, first and last (word of the instruction) come a cycle before the result, with the
    instruction's context `present`; the outputs come with the result. In the cycle of `passed`, two
    cycles or more before an instruction's first word, `ahead` is its context.

    A segment is `segment` words, or the whole instruction where that is 0; each has a magnitude
    register of its own, in order.
    """

    def __init__(self, c: Configuration) -> None:
        self.c = c
        super().__init__(
            {
                "valid": In(1),
                "first": In(1),
                "last": In(1),
                "passed": In(1),
                "ahead": In(context_layout(c)),
                "present": In(context_layout(c)),
                "enable": Out(1),
                "address": Out(16),
                "control": Out(reduce_control_layout()),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        context, control = self.present, self.control
        begins, ends = self._segments(m)
        m.d.sync += [
            self.enable.eq(self.valid & context.to_vector),
            control.valid.eq(self.valid),
        ]
        with m.If(self.valid):
            m.d.sync += [
                self.address.eq(Mux(self.first, context.destination, self.address + 1)),
                control.first.eq(self.first),
                control.last.eq(self.last),
                control.segment_first.eq(begins),
                control.segment_last.eq(ends),
                control.magnitude.eq(
                    Mux(self.first, context.magnitude, control.magnitude + control.segment_last)
                ),
                control.write_magnitude.eq(context.to_vector),
                control.write_maximum.eq(context.use_maximum),
                control.argmax.eq(context.argmax),
                control.maximum.eq(context.maximum),
                control.join_magnitude.eq(context.join_magnitude),
            ]
        return m

    def _segments(self, m: Module) -> tuple[Signal, Signal]:
        """Whether the present word is the first, and the last, of its segment."""
        size, ended = self.present.segment, self.control.segment_last  # of the word before
        left = Signal(_SEGMENT_BITS)  # words of the segment, the present one too; 0 never ends one
        begins, ends = Signal(), Signal()
        # Comparisons with registers are made a word before, those with a size before its first one.
        size_is = [Signal(name=f"size_is_{n}") for n in range(3)]
        with m.If(self.passed):
            m.d.sync += [is_n.eq(self.ahead.segment == n) for n, is_n in enumerate(size_is)]
        left_is_one = Signal()
        m.d.comb += [
            begins.eq(self.first | ended),
            ends.eq(self.last | Mux(begins, size_is[1], left_is_one)),
        ]
        with m.If(self.valid):
            m.d.sync += [
                left.eq(Mux(begins, size, left) - 1),
                left_is_one.eq(~size_is[0] & Mux(begins, size_is[2], left == 2)),
            ]
        return begins, ends
