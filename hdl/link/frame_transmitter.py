"""Frame transmitter: a header and words become the bytes of a frame (isa/frames.py)."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import stream
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import Component, In, Out

from hdl.lib.pipeline import delayed
from hdl.lib.states import OneHot
from hdl.link.frame_check import CRC_START, crc_step
from isa.frames import CHECK_BYTES, ESCAPE, ESCAPE_XOR, HEADER, HEADER_BYTES, MARK

WORD_LATENCY = 4  # cycles from the number of a payload word to the word, at most


def request_layout() -> StructLayout:
    """A frame to send; `inside`: its check is that of the session."""
    return StructLayout({"header": HEADER.layout(), "inside": unsigned(1)})


class FrameTransmitter(Component):
    """One frame at a time; takes a request when the last byte of the frame before is gone.

    `index` is the number of the payload word that `word` has to show WORD_LATENCY cycles later.
    Bytes come out of a register, one in two cycles at most.
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
        at = OneHot("idle", "open", "look", "byte", "load", "close", name="at")
        # No data register has a reset: each is written before it is read.
        shift = Signal(HEADER.bits, reset_less=True)  # header, word or check; next byte lowest
        count = Signal(range(HEADER_BYTES + 1), reset_less=True)  # bytes in it
        last = Signal(reset_less=True)  # it is one; known behind "look"
        left = Signal(8, reset_less=True)  # words to come
        inside, checked, escaped = (Signal(reset_less=True) for _ in range(3))
        header, index = Signal(HEADER.bits, reset_less=True), Signal(8, reset_less=True)
        byte, request = shift[:8], self.request.payload
        special = delayed(m, (byte == MARK) | (byte == ESCAPE), name="special")
        more = delayed(m, left != 0, name="more")
        m.d.comb += [self.index.eq(index), self.request.ready.eq(at.idle)]
        crc = self._crc(m, byte, at.idle, at.look & ~checked)
        full, put = self._output(m)

        with m.If(at.idle):
            m.d.sync += [
                header.eq(request.header), inside.eq(request.inside), checked.eq(0), index.eq(0),
            ]  # fmt: skip
            with m.If(self.request.valid):
                m.d.sync += at.go("idle", "open")
        with m.If(at.open):
            m.d.sync += [
                shift.eq(header), left.eq(HEADER.layout()(header).length), count.eq(HEADER_BYTES)
            ]  # fmt: skip
            with m.If(~full):
                m.d.sync += [put(MARK), at.go("open", "look")]
        with m.If(at.look):  # once at each byte, while its CRC and `special` are decided
            m.d.sync += [escaped.eq(0), last.eq(count == 1), at.go("look", "byte")]
        with m.If(at.byte & ~full):
            with m.If(special & ~escaped):
                m.d.sync += [put(ESCAPE), escaped.eq(1)]
            with m.Else():
                m.d.sync += [
                    put(Mux(escaped, byte ^ ESCAPE_XOR, byte)),
                    shift.eq(shift >> 8), count.eq(count - 1),
                    at.byte.eq(0), at.look.eq(~last), at.load.eq(last),
                ]  # fmt: skip
        with m.If(at.load):
            check = ~crc ^ Mux(inside, self.session, 0)
            m.d.sync += [shift.eq(Mux(more, self.word, check)), count.eq(CHECK_BYTES)]
            with m.If(more):
                m.d.sync += [left.eq(left - 1), index.eq(index + 1)]
            with m.Else():
                m.d.sync += checked.eq(1)
            with m.If(more | ~checked):
                m.d.sync += at.go("load", "look")
            with m.Else():
                m.d.sync += at.go("load", "close")
        with m.If(at.close & ~full):
            m.d.sync += [put(MARK), at.go("close", "idle")]
        return m

    def _crc(self, m: Module, byte, begins, counts) -> Signal:
        """The CRC of the bytes that count. A byte enters it in two steps: it meets the lowest byte
        of the CRC, and in the next cycle the rest."""
        crc = Signal(32, reset_less=True)
        mixed = delayed(m, byte ^ crc[:8], name="mixed")
        with m.If(delayed(m, counts, name="counts")):
            m.d.sync += crc.eq(crc_step(Cat(mixed, crc[8:]), Const(0, 8)))
        with m.If(begins):
            m.d.sync += crc.eq(CRC_START)
        return crc

    def _output(self, m: Module):
        """The register before the line: whether it is full, and what puts a byte into it, which may
        be done only while it is not."""
        full, out = Signal(), Signal(8, reset_less=True)
        m.d.comb += [self.bytes.valid.eq(full), self.bytes.payload.eq(out)]
        with m.If(self.bytes.ready):
            m.d.sync += full.eq(0)
        return full, lambda value: [full.eq(1), out.eq(value)]
