"""Frame transmitter: header and words become the bytes of a frame (isa/frames.py)."""

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import stream
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import Component, In, Out

from hdl.link.frame_check import CRC_START, crc_step
from isa.frames import CHECK_BYTES, ESCAPE, ESCAPE_XOR, HEADER, HEADER_BYTES, MARK


def request_layout() -> StructLayout:
    """A frame to send; `inside`: its check is that of the session."""
    return StructLayout({"header": HEADER.layout(), "inside": unsigned(1)})


class FrameTransmitter(Component):
    """One frame at a time; takes a request when the last byte of the frame before is gone.

    `index` is the number of the payload word that `word` has to show from the next cycle on.
    `session` may change only while `request.ready`.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "request": In(stream.Signature(request_layout())),
                "session": In(32),
                "index": Out(8),
                "word": In(32),
                "bytes": Out(stream.Signature(unsigned(8))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        shift = Signal(HEADER.bits)  # header, word or check; the next byte lowest
        count = Signal(range(HEADER_BYTES + 1))  # bytes in it
        left = Signal(8)
        inside, checked, escaped = Signal(), Signal(), Signal()
        crc = Signal(32)
        byte, out = shift[:8], self.bytes
        special = (byte == MARK) | (byte == ESCAPE)
        request = self.request.payload

        def load(value) -> None:
            m.d.sync += [shift.eq(value), count.eq(CHECK_BYTES)]
            m.next = "BYTES"

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.request.ready.eq(1)
                m.d.sync += [
                    shift.eq(request.header), left.eq(request.header.length),
                    inside.eq(request.inside), count.eq(HEADER_BYTES), checked.eq(0),
                    self.index.eq(0), crc.eq(CRC_START),
                ]  # fmt: skip
                with m.If(self.request.valid):
                    m.next = "OPEN"
            with m.State("OPEN"):
                m.d.comb += [out.payload.eq(MARK), out.valid.eq(1)]
                with m.If(out.ready):
                    m.next = "BYTES"
            with m.State("BYTES"):
                m.d.comb += out.valid.eq(1)
                with m.If(special & ~escaped):
                    m.d.comb += out.payload.eq(ESCAPE)
                    with m.If(out.ready):
                        m.d.sync += escaped.eq(1)
                with m.Else():
                    m.d.comb += out.payload.eq(Mux(escaped, byte ^ ESCAPE_XOR, byte))
                    with m.If(out.ready):
                        m.d.sync += [escaped.eq(0), shift.eq(shift >> 8), count.eq(count - 1)]
                        with m.If(~checked):
                            m.d.sync += crc.eq(crc_step(crc, byte))
                        with m.If(count == 1):
                            m.next = "LOAD"
            with m.State("LOAD"):
                with m.If(left != 0):
                    m.d.sync += [left.eq(left - 1), self.index.eq(self.index + 1)]
                    load(self.word)
                with m.Elif(~checked):
                    m.d.sync += checked.eq(1)
                    load(~crc ^ Mux(inside, self.session, 0))
                with m.Else():
                    m.next = "CLOSE"
            with m.State("CLOSE"):
                m.d.comb += [out.payload.eq(MARK), out.valid.eq(1)]
                with m.If(out.ready):
                    m.next = "IDLE"
        return m
