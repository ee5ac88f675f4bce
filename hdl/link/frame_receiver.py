"""Frame receiver: bytes off the line become words that turn out to be good or not at their end."""

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import enum, stream
from amaranth.lib.wiring import Component, In, Out

from hdl.link.frame_check import CRC_START, crc_step
from hdl.link.uart import received_layout
from isa.frames import CHECK_BYTES, ESCAPE, ESCAPE_XOR, HEADER, HEADER_BYTES, MARK


class Part(enum.Enum, shape=3):
    HEADER = 0
    PAYLOAD = 1
    CHECK = 2
    WHOLE = 3
    BROKEN = 4  # nothing counts until the next mark


class FrameReceiver(Component):
    """Takes a byte a cycle. Holds no payload: words go out before their frame is known to be good.

    `word` is valid for a cycle for each payload word, `index` counts them from 0. `end` is set for
    a cycle, two behind the mark that ends a frame of at least one byte; `header` belongs to it, and
    `outside` says that it is a good frame outside sessions, `inside` that it is a good frame of
    `session`. With neither of them the frame is damaged, of another session, or garbage.

    After a reset nothing counts until the first mark, which is what clears all that has no reset.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "bytes": In(stream.Signature(received_layout(), always_ready=True)),
                "session": In(32),
                "word": Out(unsigned(32)),
                "word_valid": Out(1),
                "index": Out(8),
                "header": Out(HEADER.layout()),
                "end": Out(1),
                "outside": Out(1),
                "inside": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        part = Signal(Part, init=Part.BROKEN)
        count = Signal(3, reset_less=True)  # bytes of the header, or of a word
        words, index = (Signal(8, reset_less=True) for _ in range(2))  # payload words so far
        escaped, empty = Signal(reset_less=True), Signal(init=1)
        shift, header = Signal(32, reset_less=True), Signal(HEADER.bits, reset_less=True)
        crc = Signal(32, init=CRC_START, reset_less=True)
        # A byte and what it is, a cycle late.
        come, mark = Signal(), Signal()  # a mark does not count as come
        plain_come, value = Signal(), Signal(8)  # without error, no ESCAPE either
        byte, error = Signal(8, reset_less=True), Signal(reset_less=True)
        escape, stuffable = Signal(reset_less=True), Signal(reset_less=True)
        arriving = self.bytes.payload.data
        valid, spoilt = self.bytes.valid, self.bytes.payload.error
        m.d.sync += [
            come.eq(valid & ((arriving != MARK) | spoilt)),
            mark.eq(valid & (arriving == MARK) & ~spoilt),
            plain_come.eq(valid & (arriving != MARK) & (arriving != ESCAPE) & ~spoilt),
            error.eq(spoilt),
            byte.eq(arriving),
            escape.eq(arriving == ESCAPE),
            stuffable.eq((arriving == MARK ^ ESCAPE_XOR) | (arriving == ESCAPE ^ ESCAPE_XOR)),
        ]
        m.d.comb += [
            value.eq(Mux(escaped, byte ^ ESCAPE_XOR, byte)),
            self.header.as_value().eq(header),
            self.word.eq(shift),
            self.index.eq(index),
        ]
        last = count == CHECK_BYTES - 1  # of a word
        last_word = Signal(reset_less=True)  # a cycle late: words come four bytes apart
        difference = ~crc ^ shift
        whole, plain, folded = (Signal(reset_less=True) for _ in range(3))
        m.d.sync += [
            self.end.eq(mark & ~empty), self.word_valid.eq(0), index.eq(words),
            last_word.eq(words + 1 == self.header.length),
            whole.eq((part == Part.WHOLE) & ~escaped),
            plain.eq(difference == 0), folded.eq(difference == self.session),
        ]  # fmt: skip
        m.d.comb += [self.outside.eq(whole & plain), self.inside.eq(whole & folded)]

        def body() -> None:
            """One more byte of header or payload."""
            m.d.sync += crc.eq(crc_step(crc, value))

        with m.If(come):
            m.d.sync += [escaped.eq(0), empty.eq(0)]
            with m.If(error | (escaped & ~stuffable)):
                m.d.sync += part.eq(Part.BROKEN)  # no sender stuffs what it need not
            with m.Elif(escape):
                m.d.sync += escaped.eq(1)
        with m.If(plain_come & (~escaped | stuffable)):
            m.d.sync += count.eq(count + 1)
            with m.Switch(part):
                with m.Case(Part.HEADER):
                    body()
                    m.d.sync += header.eq(Cat(header[8:], value))
                    with m.If(count == HEADER_BYTES - 1):
                        # The length is one byte further up until this byte is in.
                        m.d.sync += [
                            count.eq(0),
                            part.eq(Mux(header[16:24] == 0, Part.CHECK, Part.PAYLOAD)),
                        ]
                with m.Case(Part.PAYLOAD):
                    body()
                    m.d.sync += shift.eq(Cat(shift[8:], value))
                    with m.If(last):
                        m.d.sync += [
                            count.eq(0), words.eq(words + 1), self.word_valid.eq(1),
                        ]  # fmt: skip
                        with m.If(last_word):
                            m.d.sync += part.eq(Part.CHECK)
                with m.Case(Part.CHECK):
                    m.d.sync += shift.eq(Cat(shift[8:], value))
                    with m.If(last):
                        m.d.sync += part.eq(Part.WHOLE)
                with m.Default():
                    m.d.sync += part.eq(Part.BROKEN)
        with m.If(mark):
            m.d.sync += [
                part.eq(Part.HEADER), escaped.eq(0), empty.eq(1),
                count.eq(0), words.eq(0), crc.eq(CRC_START),
            ]  # fmt: skip
        return m
