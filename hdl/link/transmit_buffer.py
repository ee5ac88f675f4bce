"""Transmit buffer: words wait here until the host has acknowledged them, and are sent again."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from hdl.memory.style import style
from isa.frames import (
    DEVICE_RESEND_LIMIT,
    DEVICE_RESEND_SECONDS,
    MAXIMUM_WORDS,
    SEQUENCE_BITS,
)

LINGER_CYCLES = 255  # without a further word: a frame goes out although it is short


class TransmitBuffer(Component):
    """`depth` words (a power of two): the next frame's are those from `sequence` on.

    `length` of them can go now, when `due` (some cycles after they came); `take` says that a frame
    of them begins. `address` is the number of the word that `data` shows three cycles later.

    `heard` is set for a cycle with the `acknowledge` of a good frame, and `missing` with it when
    the host misses words: the buffer goes back to the first that is not acknowledged. It also does
    when nothing was acknowledged for DEVICE_RESEND_SECONDS, DEVICE_RESEND_LIMIT times in a row.
    Good frames end at least six cycles apart. A reset empties the buffer and begins at number 0.

    Whether to go back, and where words are acknowledged to, is decided into registers and done a
    cycle later. A frame that begins meanwhile has the words of `sequence` as it was.
    """

    def __init__(self, clock_hz: int, depth: int, block: bool) -> None:
        self.clock_hz, self.depth, self.block = clock_hz, depth, block
        super().__init__(
            {
                "words": In(stream.Signature(unsigned(32))),
                "heard": In(1),
                "acknowledge": In(SEQUENCE_BITS),
                "missing": In(1),
                "sequence": Out(SEQUENCE_BITS),
                "length": Out(range(MAXIMUM_WORDS + 1)),
                "due": Out(1),
                "take": In(1),
                "address": In(SEQUENCE_BITS),
                "data": Out(32),
            }
        )

    def elaborate(self, platform):
        m = Module()
        depth = self.depth
        longest = min(MAXIMUM_WORDS, depth // 2)
        m.submodules.memory = memory = Memory(
            shape=unsigned(32), depth=depth, init=[], attrs=style(depth, self.block)
        )
        write, read = memory.write_port(), memory.read_port()
        # Word numbers: first not acknowledged, next to send, next to come.
        first, following, end = (Signal(SEQUENCE_BITS) for _ in range(3))
        held, gone = Signal(range(depth + 1)), Signal(range(depth + 1))

        def late(value, name: str) -> Signal:
            """A register of what only counts when it has come to rest, or when a flag says so."""
            kept = Signal(Value.cast(value).shape(), name=name, reset_less=True)
            m.d.sync += kept.eq(value)
            return kept

        # All that is counted is seen late: `end` only grows, and while `following` has moved there
        # is no frame.
        moved, settling, settled, due = Signal(), Signal(init=1), Signal(), Signal()
        came, lingered = Signal(init=1), Signal(reset_less=True)  # a word did
        late_held, late_gone = late(held, "late_held"), late(gone, "late_gone")
        room = Signal()
        waiting = late((end - following)[: len(held)], "waiting")
        words = late(Mux(waiting > longest, longest, waiting), "words")  # of the next frame
        ready = late((waiting >= longest) | (waiting != 0) & lingered, "ready")
        beyond = late((following + words)[:SEQUENCE_BITS], "beyond")  # the number behind its last
        m.d.sync += [
            room.eq(late_held < depth - 2),  # a word may come meanwhile
            settling.eq(moved),
            settled.eq(~moved & ~settling),  # not for two cycles
            due.eq(ready & settled & ~moved & ~self.take),
            came.eq(write.en),
        ]
        m.d.comb += [
            held.eq(end - first),
            gone.eq(following - first),
            self.words.ready.eq(room),
            write.addr.eq(end),
            write.data.eq(self.words.payload),
            write.en.eq(self.words.valid & self.words.ready),
            read.addr.eq(late(self.address, "late_address")),  # it comes out of an adder
            self.data.eq(late(read.data, "word")),
            self.sequence.eq(following),
            self.length.eq(late(words, "late_words")),
            self.due.eq(due),
        ]
        linger = Signal(range(LINGER_CYCLES + 1), reset_less=True)
        with m.If(came):
            m.d.sync += [linger.eq(0), lingered.eq(0)]
        with m.Elif(~lingered):
            m.d.sync += [linger.eq(linger + 1), lingered.eq(linger == LINGER_CYCLES)]
        with m.If(write.en):
            m.d.sync += end.eq(end + 1)

        # What is sent next: what is behind a frame, unless it goes back in the cycle in which the
        # frame begins or in the one after. The last of these counts.
        advance, back, again, taken = Signal(), Signal(), Signal(), Signal()
        acknowledge, missing = Signal(SEQUENCE_BITS, reset_less=True), Signal(reset_less=True)
        behind = late(beyond, "behind")
        m.d.sync += taken.eq(self.take & ~back & ~again)
        m.d.comb += moved.eq(taken | again | back)
        with m.If(moved):
            m.d.sync += following.eq(Mux(back, acknowledge, Mux(again, first, behind)))
        with m.If(advance):
            m.d.sync += first.eq(acknowledge)

        # Acknowledgements. Words that a frame took just now cannot be acknowledged yet; but what
        # was decided just before `heard` has been done when it is compared.
        heard, hearing = Signal(4), Signal()
        with m.If(self.heard):
            m.d.sync += [acknowledge.eq(self.acknowledge), missing.eq(self.missing)]
        news = late((acknowledge - first)[:SEQUENCE_BITS], "news")
        sensible, forward = late(news <= late_held, "sensible"), late(news != 0, "forward")
        further = late(news > late_gone, "further")
        m.d.sync += [
            heard.eq(Cat(self.heard, heard)),
            hearing.eq(self.heard | heard.any()),  # to the cycle of `advance` and `back`
            advance.eq(heard[3] & sensible & forward),
            back.eq(heard[3] & sensible & (missing | further)),
        ]

        # Words that stay unacknowledged. The top bit of `patience` says that it is at its end.
        tries, restart = Signal(range(DEVICE_RESEND_LIMIT + 1)), Signal(init=1)
        patient_cycles = round(self.clock_hz * DEVICE_RESEND_SECONDS)
        bits = (patient_cycles - 1).bit_length()
        patience = Signal(bits + 1, reset_less=True)
        expired = patience[-1]
        tired = late(tries == DEVICE_RESEND_LIMIT, "tired")
        m.d.sync += [
            restart.eq(late(gone == 0, "all_known") | self.take | advance | again | tired),
            again.eq(expired & ~hearing & ~again & ~restart),
        ]
        with m.If(restart):
            m.d.sync += patience.eq((1 << bits) - patient_cycles)
        with m.Elif(~expired):
            m.d.sync += patience.eq(patience + 1)
        with m.If(heard[0]):
            m.d.sync += tries.eq(0)
        with m.Elif(again):
            m.d.sync += tries.eq(tries + 1)
        return m
