"""Logits on their way to the host: words of V elements in, one element at a time out."""

from amaranth.hdl import Array, Module, Signal, signed
from amaranth.lib import stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from hdl.lib.queues import QUEUE_WORDS
from hdl.lib.shapes import TOKEN_BITS, word_layout
from isa.configurations import Configuration
from isa.formats import VECTOR

DEPTH = QUEUE_WORDS  # more than enough to hide the pipeline's latency at one element a cycle
INDEX_BITS = TOKEN_BITS


class PostLogits(Component):
    """A queue of DEPTH words with reservations, since the pipeline in front of it never stalls.

    start with last_index begins a vector of last_index + 1 elements; the one before must be done.
    reserve announces one word that will be pushed later; it is allowed only while `room` is set.
    push takes the word. empty: every element of the vector has been taken from `logits`.
    """

    def __init__(self, c: Configuration) -> None:
        self.c = c
        super().__init__(
            {
                "start": In(1),
                "last_index": In(INDEX_BITS),
                "reserve": In(1),
                "room": Out(1),
                "push": In(1),
                "word": In(word_layout(c)),
                "empty": Out(1, init=1),
                "logits": Out(stream.Signature(signed(VECTOR.bits))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        lanes = self.c.vector_lanes
        m.submodules.words = words = Memory(shape=word_layout(self.c), depth=DEPTH, init=[])
        write, read = words.write_port(), words.read_port(domain="comb")
        reserved, stored = Signal(range(DEPTH + 1)), Signal(range(DEPTH + 1))
        left, last = Signal(INDEX_BITS), Signal()  # elements after the present one; none
        lane = Signal(range(lanes))
        taken = Signal()
        pop = Signal()

        m.d.comb += [
            write.en.eq(self.push),
            write.data.eq(self.word),
            self.room.eq(reserved != DEPTH),
            self.logits.valid.eq(stored != 0),
            self.logits.payload.eq(Array(read.data[i] for i in range(lanes))[lane]),
            taken.eq(self.logits.valid & self.logits.ready),
            pop.eq(taken & ((lane == lanes - 1) | last)),
        ]
        m.d.sync += [
            reserved.eq(reserved + self.reserve - pop),
            stored.eq(stored + self.push - pop),
            write.addr.eq(write.addr + self.push),
            read.addr.eq(read.addr + pop),
        ]
        with m.If(taken):
            m.d.sync += [left.eq(left - 1), last.eq(left == 1), lane.eq(lane + 1)]
            with m.If(last):
                m.d.sync += [lane.eq(0), self.empty.eq(1)]
        with m.If(self.start):
            m.d.sync += [left.eq(self.last_index), last.eq(self.last_index == 0)]
            m.d.sync += self.empty.eq(0)
        return m
