"""Receive buffer: words of a frame wait here until the frame turns out to be good."""

from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from hdl.memory.style import style
from isa.frames import SEQUENCE_BITS


class ReceiveBuffer(Component):
    """A buffer of `depth` words (a power of two). Words of kept frames go out in their order.

    `word` comes, where `word_valid` is set, behind the words of the frames that were kept; words
    are at least four cycles apart. In the cycle of `end` the frame is kept where `keep` is set and
    its words found room (`fits`), else its words are forgotten. `expected` is the number of the
    word behind the kept ones; `ready` says that half of the buffer was free a cycle ago. A reset
    empties the buffer and begins at number 0. block: in block RAM, else in look-up tables.
    """

    def __init__(self, depth: int, block: bool) -> None:
        self.depth, self.block = depth, block
        super().__init__(
            {
                "word": In(32),
                "word_valid": In(1),
                "end": In(1),
                "keep": In(1),
                "fits": Out(1),
                "ready": Out(1),
                "expected": Out(SEQUENCE_BITS),
                "words": Out(stream.Signature(unsigned(32))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        depth = self.depth
        m.submodules.memory = memory = Memory(
            shape=unsigned(32), depth=depth, init=[], attrs=style(depth, self.block)
        )
        write, read = memory.write_port(), memory.read_port()
        # Word numbers; their low bits are addresses.
        expected, following, taken = (Signal(SEQUENCE_BITS) for _ in range(3))
        overflow, fetched, room = Signal(), Signal(), Signal(init=1)
        reading, data = Signal(), Signal(32, reset_less=True)
        # Known a cycle late. That is soon enough, as words come four bytes apart, and what is taken
        # meanwhile only makes room.
        m.d.sync += [
            room.eq((following - taken)[:SEQUENCE_BITS] != depth),
            self.ready.eq((expected - taken)[:SEQUENCE_BITS] <= depth // 2),
        ]
        m.d.comb += [
            self.expected.eq(expected),
            self.fits.eq(~overflow),
            write.addr.eq(following),
            write.data.eq(self.word),
            write.en.eq(self.word_valid & room),
            read.addr.eq(taken),
            self.words.payload.eq(data),
            self.words.valid.eq(fetched),
        ]
        with m.If(self.word_valid):
            m.d.sync += [following.eq(following + room), overflow.eq(overflow | ~room)]
        with m.If(self.end):
            m.d.sync += overflow.eq(0)
            with m.If(self.keep & self.fits):
                m.d.sync += expected.eq(following)
            with m.Else():
                m.d.sync += following.eq(expected)

        # A word is read, comes into a register (a block RAM's output takes most of a cycle) and is
        # offered until it is taken; then the next one is read. It takes three cycles.
        m.d.sync += reading.eq(0)
        with m.If(fetched):
            with m.If(self.words.ready):
                m.d.sync += [fetched.eq(0), taken.eq(taken + 1)]
        with m.Elif(reading):
            m.d.sync += [data.eq(read.data), fetched.eq(1)]
        with m.Else():
            m.d.sync += reading.eq(taken != expected)
        return m
