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
        waiting, taken, kept = Signal(), Signal(), Signal()
        m.d.comb += [
            waiting.eq(level != 0),
            self.output.valid.eq(waiting | self.push),
            self.output.payload.eq(Mux(waiting, read.data, self.word)),
            taken.eq(self.output.ready & waiting),
            kept.eq(self.push & (waiting | ~self.output.ready)),
            write.en.eq(kept),
            write.data.eq(self.word),
        ]
        m.d.sync += [
            write.addr.eq(write.addr + kept),
            read.addr.eq(read.addr + taken),
            level.eq(level + kept - taken),
        ]
        return m
