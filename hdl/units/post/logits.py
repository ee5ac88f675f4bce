"""Logits on their way to the host: words of V elements in, one element at a time out."""

from amaranth.hdl import Array, Module, Signal, signed
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out

from hdl.lib.counters import CountDown, Occupancy
from hdl.lib.queues import QUEUE_WORDS, QueueMemory
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
        m.submodules.words = words = QueueMemory(word_layout(self.c), DEPTH)
        m.submodules.reserved = reserved = Occupancy(DEPTH)
        m.submodules.stored = stored = Occupancy(DEPTH)
        after = CountDown(INDEX_BITS, "elements", end=0)  # the present one
        lane = Signal(range(lanes))
        taken, pop = Signal(), Signal()
        m.d.comb += [
            words.push.eq(self.push),
            words.word.eq(self.word),
            words.pop.eq(pop),
            reserved.enter.eq(self.reserve),
            reserved.leave.eq(pop),
            stored.enter.eq(self.push),
            stored.leave.eq(pop),
            self.room.eq(~reserved.full),
            self.logits.valid.eq(~stored.none),
            self.logits.payload.eq(Array(words.oldest[i] for i in range(lanes))[lane]),
            taken.eq(self.logits.valid & self.logits.ready),
            pop.eq(taken & ((lane == lanes - 1) | after.last)),
        ]
        with m.If(taken):
            m.d.sync += [*after.step(), lane.eq(lane + 1)]
            with m.If(after.last):
                m.d.sync += [lane.eq(0), self.empty.eq(1)]
        with m.If(self.start):
            m.d.sync += [*after.load(self.last_index), self.empty.eq(0)]
        return m
