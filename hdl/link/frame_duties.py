"""What a device owes its host: answers to frames, news of lost words and of full buffers."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.wiring import Component, In, Out

from isa.frames import SEQUENCE_BITS, FrameType

MEANINGS = ("end", "begins", "lost", "damaged", "kept", "late", "further", "poll", "answer")
"""What it wants to know of a frame that ended, in FrameMeaning's words."""


class FrameDuties(Component):
    """Remembers what frames ask for until a frame of ours says it.

    Of a frame that ended it takes MEANINGS and its `sequence`; `fits`: the words of a kept frame
    found room; `ready`: half of the buffer is free. It says from the next cycle on:

    opening: a session is to begin; only a reset ends that.
    lost, status: a LOST or a status is due, until `lost_sent` or `status_sent` (a pulse each).
    kind, echo: of a status, its type and its sequence number (that of a POLL, which it answers).
    gap_sequence: where the words begin before which others are known to be missing.

    What a frame asks for in the cycle of `status_sent` is due after it.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                **{name: In(1) for name in MEANINGS},
                "sequence": In(SEQUENCE_BITS),
                "fits": In(1),
                "ready": In(1),
                "opening": Out(1),
                "lost_due": Out(1),
                "lost_sent": In(1),
                "status_due": Out(1),
                "status_sent": In(1),
                "kind": Out(FrameType),
                "echo": Out(SEQUENCE_BITS),
                "gap_sequence": Out(SEQUENCE_BITS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        stalled, missing, polled = Signal(), Signal(), Signal()
        number, gap_sequence = (Signal(SEQUENCE_BITS, reset_less=True) for _ in range(2))
        gap = Signal()
        m.d.comb += [
            self.kind.eq(
                Mux(stalled, FrameType.BUSY, Mux(missing, FrameType.NAK, FrameType.ACK))
            ),
            self.echo.eq(Mux(polled, number, 0)),
            self.gap_sequence.eq(gap_sequence),
        ]
        with m.If(self.lost_sent):
            m.d.sync += self.lost_due.eq(0)
        with m.If(self.status_sent):
            m.d.sync += [self.status_due.eq(0), missing.eq(0), polled.eq(0)]
        # The words that found no room are missing as soon as there is room for them.
        with m.If(stalled & self.ready):
            m.d.sync += [stalled.eq(0), missing.eq(1), self.status_due.eq(1)]
        with m.If(self.end):
            with m.If(self.begins):
                m.d.sync += self.opening.eq(1)
            with m.If(self.lost):
                m.d.sync += self.lost_due.eq(1)
            with m.If(self.answer):
                m.d.sync += self.status_due.eq(1)
            with m.If(self.poll):
                m.d.sync += [polled.eq(1), number.eq(self.sequence)]
            with m.If(self.kept):
                m.d.sync += gap.eq(~self.fits)
                with m.If(~self.fits):
                    m.d.sync += stalled.eq(1)
            with m.If(self.late):
                m.d.sync += gap.eq(1)
            with m.If(self.kept | self.late):
                m.d.sync += gap_sequence.eq(self.sequence)
            # One NAK for a gap, another when the host has gone back and it is still there.
            with m.If(self.damaged | (self.late & ~(gap & self.further))):
                m.d.sync += missing.eq(1)
        return m
