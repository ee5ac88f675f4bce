"""A queue that lets words pass when it is empty: what a pipeline without back-pressure ends in."""

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out


class WordQueue(wiring.Component):
    """`push` adds `word`; `output` offers the oldest, in the same cycle when there is no other.

    The user pushes only while fewer than `depth` (a power of two) words wait.
    """

    def __init__(self, bits: int, depth: int):
        self._bits, self._depth = bits, depth
        super().__init__(
            {
                "push": In(1),
                "word": In(unsigned(bits)),
                "output": Out(stream.Signature(unsigned(bits))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.memory = memory = Memory(
            shape=unsigned(self._bits), depth=self._depth, init=[]
        )
        write, read = memory.write_port(), memory.read_port(domain="comb")
        level = Signal(range(self._depth + 1))
        waiting = Signal()  # level is not 0
        taken, kept = Signal(), Signal()
        m.d.comb += [
            self.output.valid.eq(waiting | self.push),
            self.output.payload.eq(Mux(waiting, read.data, self.word)),
            taken.eq(self.output.ready & waiting),
            kept.eq(self.push & (waiting | ~self.output.ready)),
            write.en.eq(kept),
            write.data.eq(self.word),
        ]
        # Whether the output is ready comes late: it only enables what was made up before.
        with m.If(kept):
            m.d.sync += write.addr.eq(write.addr + 1)
        with m.If(taken):
            m.d.sync += read.addr.eq(read.addr + 1)
        with m.If(Mux(self.push, ~self.output.ready, taken)):
            with m.If(self.push):
                m.d.sync += [level.eq(level + 1), waiting.eq(1)]
            with m.Else():
                m.d.sync += [level.eq(level - 1), waiting.eq(level != 1)]
        return m
