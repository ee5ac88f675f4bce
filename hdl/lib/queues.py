"""Queues in the small memories of look-up tables, for the three ways in which units need them.

`amaranth.lib.fifo` serves where both sides decide early in their cycle. These serve where one side
decides late, or where a unit itself knows how many words wait:

    QueueMemory   storage and order alone; its user knows when there is room and when a word
    Queue         a stream in and a stream out; `i.ready` is a register
    BypassQueue   behind a pipeline that cannot wait; a word passes an empty queue at once
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

QUEUE_WORDS = 16
"""The words of a queue: look-up tables hold no less, and of fewer an address bit would be wired
to 0."""


class QueueMemory(Component):
    """Up to `depth` words in order: `push` adds `word` behind the others, `pop` removes `oldest`.

    `oldest` is read in the cycle itself, from the cycle after its push on. Nothing is checked: the
    user pushes only while there is room and pops only while there is a word. `attrs` are those of
    the memory, for synthesis.
    """

    first_word_latency = 1  # cycles from a push to the word as `oldest`

    def __init__(self, shape, depth: int = QUEUE_WORDS, attrs: dict[str, str] | None = None):
        self.shape, self.depth, self.attrs = shape, depth, attrs or {}
        super().__init__({"push": In(1), "word": In(shape), "pop": In(1), "oldest": Out(shape)})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.memory = memory = Memory(
            shape=self.shape, depth=self.depth, init=[], attrs=self.attrs
        )
        write, read = memory.write_port(), memory.read_port(domain="comb")
        m.d.comb += [
            write.en.eq(self.push),
            write.data.eq(self.word),
            self.oldest.eq(read.data),
        ]
        for address, moves in ((write.addr, self.push), (read.addr, self.pop)):
            with m.If(moves):
                m.d.sync += address.eq(_following(address, self.depth))
        return m


class Queue(Component):
    """A stream through `depth` words (a power of two), one a cycle.

    Both ends of a decision may be late in their cycle. `i.ready` is a register, which says a cycle
    late whether there is room; the last place is filled only by a word right behind another.
    `o.ready` only enables registers: there is no count of words that it would have to pass. `o`
    offers a word in the cycle after it was taken, out of the memory.
    """

    first_word_latency = 1  # cycles from a transfer of `i` to the word's offer at `o`
    registered_ready = True  # i.ready comes out of a register

    def __init__(self, shape, depth: int = QUEUE_WORDS):
        if depth & (depth - 1):
            raise ValueError(f"a queue of {depth} words: not a power of two")
        self.shape, self.depth = shape, depth
        word = stream.Signature(shape)
        super().__init__({"i": In(word), "o": Out(word)})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.memory = memory = Memory(shape=self.shape, depth=self.depth, init=[])
        write, read = memory.write_port(), memory.read_port(domain="comb")
        # Numbers of words, a bit longer than an address: equal when nothing waits.
        written, gone = Signal(range(2 * self.depth)), Signal(range(2 * self.depth))
        taken, waiting = Signal(), Signal.like(written)
        m.d.comb += [
            taken.eq(self.i.valid & self.i.ready),
            waiting.eq(written - gone),
            write.addr.eq(written),
            write.data.eq(self.i.payload),
            write.en.eq(taken),
            read.addr.eq(gone),
            self.o.payload.eq(read.data),
            self.o.valid.eq(written != gone),
        ]
        m.d.sync += [
            self.i.ready.eq(waiting <= self.depth - 2),  # one more may come in this cycle
            written.eq(written + taken),
        ]
        with m.If(self.o.ready):
            m.d.sync += gone.eq(gone + self.o.valid)
        return m


class BypassQueue(Component):
    """`push` adds `word`; `o` offers the oldest, in the same cycle when there is no other.

    For the end of a pipeline without back-pressure: the user pushes only while fewer than `depth`
    (a power of two) words wait. `o.ready` may come late: it only enables registers.
    """

    first_word_latency = 0  # cycles from a push to the word's offer at `o`

    def __init__(self, shape, depth: int = QUEUE_WORDS):
        if depth & (depth - 1):
            raise ValueError(f"a queue of {depth} words: not a power of two")
        self.shape, self.depth = shape, depth
        super().__init__(
            {"push": In(1), "word": In(shape), "o": Out(stream.Signature(shape))}
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.kept = kept = QueueMemory(self.shape, self.depth)
        level = Signal(range(self.depth + 1))  # words in `kept`
        waiting = Signal()  # there is one
        m.d.comb += [
            self.o.valid.eq(waiting | self.push),
            self.o.payload.eq(Mux(waiting, kept.oldest, self.word)),
            kept.word.eq(self.word),
            kept.push.eq(self.push & (waiting | ~self.o.ready)),
            kept.pop.eq(waiting & self.o.ready),
        ]
        with m.If(Mux(self.push, ~self.o.ready, kept.pop)):
            with m.If(self.push):
                m.d.sync += [level.eq(level + 1), waiting.eq(1)]
            with m.Else():
                m.d.sync += [level.eq(level - 1), waiting.eq(level != 1)]
        return m


def _following(address: Signal, depth: int):
    """The address behind an address of `depth` words, with the first behind the last."""
    if depth & (depth - 1) == 0:
        return address + 1
    return Mux(address == depth - 1, 0, address + 1)
