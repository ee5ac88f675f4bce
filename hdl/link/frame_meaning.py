"""What a frame means, decided in the two cycles at its end."""

from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import Component, In, Out

from hdl.lib.pipeline import delayed
from isa.frames import FIRST_OF_SESSION, HEADER, HELLO_WORDS, SEQUENCE_BITS, FrameType

SESSION_WORD = 1  # of HELLO


class FrameMeaning(Component):
    """Takes what a FrameReceiver says; its own outputs belong to the frame that ended a cycle ago.

    `open`, `opening` and `session` are those of this link; while a session is `opening`, nothing is
    said of frames. `expected`: the number of the word that is to come next. `gap_sequence`: where
    the words begin before which others are known to be missing.

    In the cycle of `end` at most one of these is set: `begins` a session, `repeats` the HELLO of
    this one, `lost` (no session is open), `damaged` (or of another session, or garbage), `kept`
    (words that come next), `late` (words with others missing before them; `further`: behind
    `gap_sequence`), `poll`. `heard`: a good frame of the session; `answer`: the host waits for one.
    `nak` is for `heard`. `sequence` and `acknowledge` are the header's, `offered` the session's
    number of the last HELLO.

    The header and a HELLO's session number come bytes before the end of their frame. So there are
    two cycles to decide in: one for what they are, one for what follows from that.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "header": In(HEADER.layout()),
                "word": In(32),
                "word_valid": In(1),
                "index": In(8),
                "ended": In(1),
                "outside": In(1),
                "inside": In(1),
                "session": In(32),
                "open": In(1),
                "opening": In(1),
                "expected": In(SEQUENCE_BITS),
                "gap_sequence": In(SEQUENCE_BITS),
                "end": Out(1),
                **dict.fromkeys(
                    ("begins", "repeats", "lost", "damaged", "kept", "late", "further", "poll",
                     "heard", "answer", "nak"),
                    Out(1),
                ),
                "sequence": Out(SEQUENCE_BITS),
                "acknowledge": Out(SEQUENCE_BITS),
                "offered": Out(32),
            }
        )  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        header, sequence = self.header, self.header.sequence

        def seen(name: str, value) -> Signal:
            return delayed(m, value, name=name)

        offered = Signal(32, reset_less=True)
        with m.If(self.word_valid & (self.index == SESSION_WORD) & ~self.opening):
            m.d.sync += offered.eq(self.word)
        # The first cycle, of the header, whatever becomes of its frame.
        hello = seen("hello", (header.type == FrameType.HELLO) & (header.length >= HELLO_WORDS))
        number, same = seen("number", offered != 0), seen("same", offered == self.session)
        of_session = seen("of_session", header.type >= FIRST_OF_SESSION)
        data, poll, nak = (
            seen(kind.name.lower(), header.type == kind)
            for kind in (FrameType.DATA, FrameType.POLL, FrameType.NAK)
        )
        next_one = seen("next_one", sequence == self.expected)
        ahead = seen("ahead", ~(sequence - self.expected)[SEQUENCE_BITS - 1])
        from_gap = (sequence - self.gap_sequence)[:SEQUENCE_BITS]
        further = seen("further", (sequence != self.gap_sequence) & ~from_gap[-1])

        # The second.
        greets = self.outside & hello & number
        good = self.inside & self.open & of_session
        words = good & data
        m.d.sync += self.end.eq(self.ended & ~self.opening)
        for target, value in (
            (self.begins, greets & ~(self.open & same)),
            (self.repeats, greets & self.open & same),
            (self.lost, ~greets & ~self.open),
            (self.damaged, ~greets & self.open & ~good),
            (self.kept, words & next_one),
            (self.late, words & ~next_one & ahead),
            (self.further, further),
            (self.poll, good & poll),
            (self.heard, good),
            (self.answer, ~greets & self.open & ~(good & ~data & ~poll)),
            (self.nak, nak),
            (self.sequence, sequence),
            (self.acknowledge, header.acknowledge),
        ):
            kept = delayed(m, value, shape=target.shape(), name=f"end_{target.name}")
            m.d.comb += target.eq(kept)
        m.d.comb += self.offered.eq(offered)
        return m
