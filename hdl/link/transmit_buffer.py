"""Transmit buffer: words wait here until the host has acknowledged them, and are sent again."""

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
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
    """

    def __init__(self, clock_hz: int, depth: int, block: bool) -> None:
        self.clock_hz, self.depth, self.block = clock_hz, depth, block
        super().__init__(
            {
                "words": In(stream.Signature(unsigned(32))),
                "heard": In(1),
                "acknowledge": In(SEQUENCE_BITS),
                "missing": In(1),
                "clear": In(1),
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
        held, waiting, gone = (Signal(range(depth + 1)) for _ in range(3))
        room = Signal()
        # All that is counted is seen late: `end` only grows, and while `following` has moved there
        # is no frame.
        moved, settling, settled, lingered = Signal(), Signal(2), Signal(), Signal()
        ready = Signal()  # words for a frame
        words = Signal.like(self.length)  # of it
        beyond = Signal(SEQUENCE_BITS)  # the number behind its last
        address = Signal(SEQUENCE_BITS)  # behind an adder
        m.d.sync += [
            room.eq(held < depth - 1),
            address.eq(self.address),
            self.data.eq(read.data),
            waiting.eq(end - following),
            words.eq(Mux(waiting > longest, longest, waiting)),
            self.length.eq(words),
            beyond.eq(following + words),
            ready.eq((waiting >= longest) | (waiting != 0) & lingered),
            settling.eq(Cat(moved, settling)),
            settled.eq(~moved & (settling == 0)),  # for three cycles
        ]
        m.d.comb += [
            held.eq(end - first),
            gone.eq(following - first),
            self.words.ready.eq(room),
            write.addr.eq(end),
            write.data.eq(self.words.payload),
            write.en.eq(self.words.valid & self.words.ready),
            read.addr.eq(address),
            self.sequence.eq(following),
            self.due.eq(ready & settled),
        ]
        linger = Signal(range(LINGER_CYCLES + 1))
        with m.If(~lingered):
            m.d.sync += [linger.eq(linger + 1), lingered.eq(linger == LINGER_CYCLES)]
        with m.If(write.en):
            m.d.sync += [end.eq(end + 1), linger.eq(0), lingered.eq(0)]

        def move(target) -> None:
            """What is sent next."""
            m.d.comb += moved.eq(1)
            m.d.sync += following.eq(target)

        with m.If(self.take):
            move(beyond)

        # Acknowledgements, and going back.
        tries = Signal(range(DEVICE_RESEND_LIMIT + 1))
        patient_cycles = round(self.clock_hz * DEVICE_RESEND_SECONDS)
        patience = Signal(range(patient_cycles))
        # Two cycles late: words that a frame took just now cannot be acknowledged yet.
        heard, acknowledge, missing = Signal(2), Signal(SEQUENCE_BITS), Signal()
        news, late_held, late_gone = Signal(SEQUENCE_BITS), Signal.like(held), Signal.like(gone)
        sensible, forward, further = Signal(), Signal(), Signal()
        all_known, expired = Signal(), Signal()
        m.d.sync += [
            late_held.eq(held), late_gone.eq(gone), all_known.eq(gone == 0),
            heard.eq(Cat(self.heard, heard)),
            news.eq(self.acknowledge - first),
            sensible.eq(news <= late_held), forward.eq(news != 0), further.eq(news > late_gone),
            expired.eq(patience == patient_cycles - 1),
        ]  # fmt: skip
        with m.If(self.heard):
            m.d.sync += [acknowledge.eq(self.acknowledge), missing.eq(self.missing)]
        with m.If(all_known | self.take):
            m.d.sync += [patience.eq(0), expired.eq(0)]
        with m.Elif((tries != DEVICE_RESEND_LIMIT) & ~heard.any() & ~self.heard):
            m.d.sync += patience.eq(patience + 1)
            with m.If(expired):
                m.d.sync += [patience.eq(0), expired.eq(0), tries.eq(tries + 1)]
                move(first)
        with m.If(heard[1]):
            m.d.sync += tries.eq(0)
            with m.If(sensible & forward):
                m.d.sync += [first.eq(acknowledge), patience.eq(0), expired.eq(0)]
            with m.If(sensible & (missing | further)):
                move(acknowledge)
        with m.If(self.clear):
            move(0)
            m.d.sync += [
                first.eq(0), end.eq(0), tries.eq(0), patience.eq(0), heard.eq(0),
            ]  # fmt: skip
        return m
