"""Transmit buffer: words wait here until the host has acknowledged them, and are sent again."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from hdl.lib.pipeline import delayed
from hdl.memory.style import style
from isa.frames import (
    DEVICE_RESEND_LIMIT,
    DEVICE_RESEND_SECONDS,
    MAXIMUM_WORDS,
    SEQUENCE_BITS,
)

LINGER_CYCLES = 255  # without a further word: a frame goes out although it is short
HEARING_CYCLES = 4  # from an acknowledgement to the decision what it is good for
APART_CYCLES = HEARING_CYCLES + 2  # at least, from the end of a good frame to that of the next
READ_LATENCY = 3  # cycles from the number of a word to the word


class TransmitBuffer(Component):
    """`depth` words (a power of two): the next frame's are those from `sequence` on.

    `length` of them can go now, when `due` (some cycles after they came); `take` says that a frame
    of them begins. `address` is the number of the word that `data` shows READ_LATENCY cycles later.

    `heard` is set for a cycle with the `acknowledge` of a good frame, and `missing` with it when
    the host misses words: the buffer goes back to the first that is not acknowledged. It also does
    when nothing was acknowledged for DEVICE_RESEND_SECONDS, DEVICE_RESEND_LIMIT times in a row.
    Good frames end at least APART_CYCLES apart. A frame that begins while that is looked at has the
    words of `sequence` as it was. A reset empties the buffer and begins at number 0.
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
        m.submodules.memory = memory = Memory(
            shape=unsigned(32), depth=depth, init=[], attrs=style(depth, self.block)
        )
        write, read = memory.write_port(), memory.read_port()
        # Word numbers: first not acknowledged, next to send, next to come. Their differences: words
        # that are held, and those of them that were sent.
        first, following, end = (Signal(SEQUENCE_BITS) for _ in range(3))
        held, gone = Signal(range(depth + 1)), Signal(range(depth + 1))
        room = Signal()
        m.d.sync += room.eq(delayed(m, held, name="late_held") < depth - 2)  # as one more may come
        m.d.comb += [
            held.eq(end - first),
            gone.eq(following - first),
            self.words.ready.eq(room),
            write.addr.eq(end),
            write.data.eq(self.words.payload),
            write.en.eq(self.words.valid & self.words.ready),
            read.addr.eq(delayed(m, self.address, name="late_address")),  # comes out of an adder
            self.data.eq(delayed(m, read.data, name="word")),
            self.sequence.eq(following),
        ]
        with m.If(write.en):
            m.d.sync += end.eq(end + 1)

        advance, back, again, taken = Signal(), Signal(), Signal(), Signal()
        acknowledge = Signal(SEQUENCE_BITS, reset_less=True)
        m.d.sync += taken.eq(self.take & ~back & ~again)
        moved = Signal()
        m.d.comb += moved.eq(taken | again | back)
        behind = self._next_frame(m, following, end, moved, self._lingered(m, write.en))
        # What is sent next: what is behind a frame, unless it goes back in the cycle in which the
        # frame begins or in the one after. The last of these counts.
        with m.If(moved):
            m.d.sync += following.eq(Mux(back, acknowledge, Mux(again, first, behind)))
        with m.If(advance):
            m.d.sync += first.eq(acknowledge)
        heard = self._hear(m, first, held, gone, acknowledge, advance, back)
        self._lose_patience(m, gone, heard, advance, again)
        return m

    def _lingered(self, m: Module, comes) -> Signal:
        """Set while no further word came for LINGER_CYCLES."""
        came, lingered = Signal(init=1), Signal(reset_less=True)
        linger = Signal(range(LINGER_CYCLES + 1), reset_less=True)
        m.d.sync += came.eq(comes)
        with m.If(came):
            m.d.sync += [linger.eq(0), lingered.eq(0)]
        with m.Elif(~lingered):
            m.d.sync += [linger.eq(linger + 1), lingered.eq(linger == LINGER_CYCLES)]
        return lingered

    def _next_frame(self, m: Module, following, end, moved, lingered) -> Value:
        """Whether a frame is due, and its length; the number behind its last word.

        Counts are seen some cycles late. That does not matter: `end` only grows, and for as long
        after `following` has moved no frame is due.
        """
        longest = min(MAXIMUM_WORDS, self.depth // 2)
        bits = self.depth.bit_length()
        waiting = delayed(m, (end - following)[:bits], name="waiting")
        words = delayed(m, Mux(waiting > longest, longest, waiting), name="words")
        ready = delayed(m, (waiting >= longest) | (waiting != 0) & lingered, name="ready")
        settling, settled, due = Signal(init=1), Signal(), Signal()
        m.d.sync += [
            settling.eq(moved),
            settled.eq(~moved & ~settling),
            due.eq(ready & settled & ~moved & ~self.take),
        ]
        m.d.comb += [self.length.eq(delayed(m, words, name="late_words")), self.due.eq(due)]
        beyond = delayed(m, (following + words)[:SEQUENCE_BITS], name="beyond")
        return delayed(m, beyond, name="behind")

    def _hear(self, m: Module, first, held, gone, acknowledge, advance, back
              ) -> tuple[Value, Value]:  # fmt: skip
        """What a good frame acknowledges: `advance` takes it over, `back` sends again from there.

        It takes HEARING_CYCLES; what is returned says that they begin, and that they are not over.
        Words that a frame took just now cannot be acknowledged yet; but what was
        decided just before `heard` has been done when it is compared.
        """
        stages, hearing = Signal(HEARING_CYCLES), Signal()
        missing = Signal(reset_less=True)
        with m.If(self.heard):
            m.d.sync += [acknowledge.eq(self.acknowledge), missing.eq(self.missing)]
        late_held = delayed(m, held, name="late_held")
        late_gone = delayed(m, gone, name="late_gone")
        news = delayed(m, (acknowledge - first)[:SEQUENCE_BITS], name="news")
        sensible = delayed(m, news <= late_held, name="sensible")
        forward = delayed(m, news != 0, name="forward")
        further = delayed(m, news > late_gone, name="further")
        m.d.sync += [
            stages.eq(Cat(self.heard, stages)),
            hearing.eq(self.heard | stages.any()),  # to the cycle of `advance` and `back`
            advance.eq(stages[-1] & sensible & forward),
            back.eq(stages[-1] & sensible & (missing | further)),
        ]
        return stages[0], hearing

    def _lose_patience(self, m: Module, gone, heard, advance, again) -> None:
        """Sets `again` where words stay unacknowledged for DEVICE_RESEND_SECONDS, but not while an
        acknowledgement is looked at, nor more than DEVICE_RESEND_LIMIT times in a row."""
        begins, hearing = heard
        tries, restart = Signal(range(DEVICE_RESEND_LIMIT + 1)), Signal(init=1)
        cycles = round(self.clock_hz * DEVICE_RESEND_SECONDS)
        bits = (cycles - 1).bit_length()
        patience = Signal(bits + 1, reset_less=True)  # its top bit: at its end
        expired = patience[-1]
        all_known = delayed(m, gone == 0, name="all_known")
        tired = delayed(m, tries == DEVICE_RESEND_LIMIT, name="tired")
        m.d.sync += [
            restart.eq(all_known | self.take | advance | again | tired),
            again.eq(expired & ~hearing & ~again & ~restart),
        ]
        with m.If(restart):
            m.d.sync += patience.eq((1 << bits) - cycles)
        with m.Elif(~expired):
            m.d.sync += patience.eq(patience + 1)
        with m.If(begins):
            m.d.sync += tries.eq(0)
        with m.Elif(again):
            m.d.sync += tries.eq(tries + 1)
