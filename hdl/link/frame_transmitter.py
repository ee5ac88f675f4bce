"""Frame transmitter: header and words become the bytes of a frame (isa/frames.py)."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import stream
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import Component, In, Out

from hdl.link.frame_check import CRC_START, crc_step
from isa.frames import CHECK_BYTES, ESCAPE, ESCAPE_XOR, HEADER, HEADER_BYTES, MARK

WORD_LATENCY = 4  # cycles from the number of a payload word to the word, at most
STATES = ("idle", "open", "look", "byte", "load", "close")


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
        at = {name: Signal(name=f"at_{name}", init=name == "idle") for name in STATES}
        # What is no state needs no reset: it is set before it counts.
        shift = Signal(HEADER.bits, reset_less=True)  # header, word or check; next byte lowest
        count = Signal(range(HEADER_BYTES + 1), reset_less=True)  # bytes in it
        last = Signal(reset_less=True)  # there is one, behind "look"
        left, more = Signal(8, reset_less=True), Signal(reset_less=True)  # words to come; any, late
        inside, checked, escaped, special = (Signal(reset_less=True) for _ in range(4))
        header, index = Signal(HEADER.bits, reset_less=True), Signal(8, reset_less=True)
        # A byte enters the CRC in two steps: with the lowest byte of it, and then that one.
        crc, mixed = Signal(32, reset_less=True), Signal(8, reset_less=True)
        counts = Signal(reset_less=True)
        byte, request = shift[:8], self.request.payload
        full, out = Signal(), Signal(8, reset_less=True)  # a byte that waits for the line
        m.d.comb += [
            self.bytes.valid.eq(full), self.bytes.payload.eq(out), self.index.eq(index),
            self.request.ready.eq(at["idle"]),
        ]  # fmt: skip
        with m.If(self.bytes.ready):
            m.d.sync += full.eq(0)

        def go(origin: str, target: str) -> None:
            m.d.sync += [at[origin].eq(0), at[target].eq(1)]

        def put(value) -> None:
            """Only while not `full`."""
            m.d.sync += [full.eq(1), out.eq(value)]

        m.d.sync += [
            special.eq((byte == MARK) | (byte == ESCAPE)), more.eq(left != 0),
            mixed.eq(byte ^ crc[:8]), counts.eq(0),
        ]  # fmt: skip
        with m.If(counts):
            m.d.sync += crc.eq(crc_step(Cat(mixed, crc[8:]), Const(0, 8)))
        with m.If(at["idle"]):
            m.d.sync += [
                header.eq(request.header), inside.eq(request.inside), checked.eq(0),
                index.eq(0), crc.eq(CRC_START),
            ]  # fmt: skip
            with m.If(self.request.valid):
                go("idle", "open")
        with m.If(at["open"]):
            m.d.sync += [
                shift.eq(header), left.eq(HEADER.layout()(header).length), count.eq(HEADER_BYTES)
            ]  # fmt: skip
            with m.If(~full):
                put(MARK)
                go("open", "look")
        with m.If(at["look"]):  # at a byte, once at each: whether it is to be stuffed, its CRC
            m.d.sync += [escaped.eq(0), last.eq(count == 1), counts.eq(~checked)]
            go("look", "byte")
        with m.If(at["byte"] & ~full):
            with m.If(special & ~escaped):
                put(ESCAPE)
                m.d.sync += escaped.eq(1)
            with m.Else():
                put(Mux(escaped, byte ^ ESCAPE_XOR, byte))
                m.d.sync += [
                    shift.eq(shift >> 8), count.eq(count - 1),
                    at["byte"].eq(0), at["look"].eq(~last), at["load"].eq(last),
                ]  # fmt: skip
        with m.If(at["load"]):
            check = ~crc ^ Mux(inside, self.session, 0)
            m.d.sync += [shift.eq(Mux(more, self.word, check)), count.eq(CHECK_BYTES)]
            with m.If(more):
                m.d.sync += [left.eq(left - 1), index.eq(index + 1)]
            with m.Else():
                m.d.sync += checked.eq(1)
            m.d.sync += at["load"].eq(0)
            with m.If(more | ~checked):
                m.d.sync += at["look"].eq(1)
            with m.Else():
                m.d.sync += at["close"].eq(1)
        with m.If(at["close"] & ~full):
            put(MARK)
            go("close", "idle")
        return m
