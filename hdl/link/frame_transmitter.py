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

    `index` is the number of the payload word that `word` has to show four cycles later. Bytes come
    out of a register, one in two cycles at most.
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
        inside, checked, escaped, special = Signal(), Signal(), Signal(), Signal()
        header = Signal(HEADER.bits)
        crc = Signal(32)
        byte, request = shift[:8], self.request.payload
        full, out = Signal(), Signal(8)  # a byte that waits for the line
        m.d.comb += [self.bytes.valid.eq(full), self.bytes.payload.eq(out)]
        with m.If(self.bytes.ready):
            m.d.sync += full.eq(0)

        def put(value) -> None:
            """Only while not `full`."""
            m.d.sync += [full.eq(1), out.eq(value)]

        def load(value) -> None:
            m.d.sync += [shift.eq(value), count.eq(CHECK_BYTES)]
            m.next = "LOOK"

        m.d.sync += special.eq((byte == MARK) | (byte == ESCAPE))
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.request.ready.eq(1)
                m.d.sync += [
                    header.eq(request.header), inside.eq(request.inside), checked.eq(0),
                    self.index.eq(0), crc.eq(CRC_START),
                ]  # fmt: skip
                with m.If(self.request.valid):
                    m.next = "OPEN"
            with m.State("OPEN"):
                m.d.sync += [
                    shift.eq(header), left.eq(HEADER.layout()(header).length),
                    count.eq(HEADER_BYTES),
                ]  # fmt: skip
                with m.If(~full):
                    put(MARK)
                    m.next = "LOOK"
            with m.State("LOOK"):  # at a byte, once at each: whether it is to be stuffed, its CRC
                m.d.sync += escaped.eq(0)
                with m.If(~checked):
                    m.d.sync += crc.eq(crc_step(crc, byte))
                m.next = "BYTE"
            with m.State("BYTE"):
                with m.If(~full):
                    with m.If(special & ~escaped):
                        put(ESCAPE)
                        m.d.sync += escaped.eq(1)
                    with m.Else():
                        put(Mux(escaped, byte ^ ESCAPE_XOR, byte))
                        m.d.sync += [shift.eq(shift >> 8), count.eq(count - 1)]
                        m.next = "LOOK"
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
                with m.If(~full):
                    put(MARK)
                    m.next = "IDLE"
        return m
