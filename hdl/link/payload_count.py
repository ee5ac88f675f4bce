"""How much of a packet's payload is still to come or to go."""

from amaranth.hdl import Module, Mux, Signal


class PayloadCount:
    """Counts the words of a payload; `final` says that the next one is the last.

    begin: a payload of `length` words begins in the next cycle. decide: `final` and `empty` (no
    word at all) are decided in this cycle, that of `begin` or a later one, before the first word.
    taken: a word is; the user sees to it that there is one.

    Many wires hang on the number of words: it follows a word a cycle late, `final` does not. No
    register has a reset, since all are set before they count.
    """

    def __init__(self, m: Module, begin, length, decide, taken) -> None:
        self.left, self.final, self.empty = (
            Signal(shape, name=name, reset_less=True)
            for name, shape in (("left", 32), ("final", 1), ("empty", 1))
        )
        took = Signal(reset_less=True)
        known = length if decide is begin else self.left
        m.d.sync += took.eq(taken)
        with m.If(begin):
            m.d.sync += self.left.eq(length)
        with m.Elif(took):
            m.d.sync += self.left.eq(self.left - 1)
        with m.If(decide):
            m.d.sync += [self.empty.eq(known == 0), self.final.eq(known == 1)]
        with m.If(taken):
            m.d.sync += self.final.eq(Mux(took, self.left == 3, self.left == 2))
