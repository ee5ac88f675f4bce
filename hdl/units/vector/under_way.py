"""How many words of the vector unit are under way: issued and not yet written."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class WordsUnderWay(wiring.Component):
    """Counts up with `issue`, down with `popped`; what it says of the count is in registers.

    The user issues only while it is not `full`. `none_next`: none is left after this cycle, if
    none is issued in it.
    """

    def __init__(self, words: int):
        self._words = words
        super().__init__({"issue": In(1), "popped": In(1), "full": Out(1), "none_next": Out(1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        count = Signal(range(self._words + 1))
        none, one = Signal(init=1), Signal()
        m.d.comb += self.none_next.eq(none | (one & self.popped))
        with m.If(self.issue != self.popped):
            with m.If(self.issue):
                m.d.sync += [
                    count.eq(count + 1),
                    none.eq(0),
                    one.eq(none),
                    self.full.eq(count == self._words - 1),
                ]
            with m.Else():
                m.d.sync += [
                    count.eq(count - 1),
                    none.eq(one),
                    one.eq(count == 2),
                    self.full.eq(0),
                ]
        return m
