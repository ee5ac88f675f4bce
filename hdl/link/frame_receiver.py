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
        part = Signal(Part)
        count = Signal(3)  # bytes of the header, or of a word
        words = Signal(8)  # payload words so far
        escaped, empty = Signal(), Signal(init=1)
        shift, header = Signal(32), Signal(HEADER.bits)
        crc = Signal(32, init=CRC_START)
        # A byte and what it is, a cycle late.
        come, error, byte, value = Signal(), Signal(), Signal(8), Signal(8)
        mark, escape, stuffable = Signal(), Signal(), Signal()
        arriving = self.bytes.payload.data
        m.d.sync += [
            come.eq(self.bytes.valid),
            error.eq(self.bytes.payload.error),
            byte.eq(arriving),
            mark.eq(arriving == MARK),
            escape.eq(arriving == ESCAPE),
            stuffable.eq((arriving == MARK ^ ESCAPE_XOR) | (arriving == ESCAPE ^ ESCAPE_XOR)),
        ]
        m.d.comb += [
            value.eq(Mux(escaped, byte ^ ESCAPE_XOR, byte)),
            self.header.as_value().eq(header),
            self.word.eq(shift),
        ]
        last = count == CHECK_BYTES - 1  # of a word
        last_word = Signal()  # a cycle late: words come four bytes apart
        difference = ~crc ^ shift
        whole, plain, folded = Signal(), Signal(), Signal()
        m.d.sync += [
            self.end.eq(0), self.word_valid.eq(0), self.index.eq(words),
            last_word.eq(words + 1 == self.header.length),
            whole.eq((part == Part.WHOLE) & ~escaped),
            plain.eq(difference == 0), folded.eq(difference == self.session),
        ]  # fmt: skip
        m.d.comb += [self.outside.eq(whole & plain), self.inside.eq(whole & folded)]

        def body() -> None:
            """One more byte of header or payload."""
            m.d.sync += crc.eq(crc_step(crc, value))

        with m.If(come):
            m.d.sync += escaped.eq(0)
            with m.If(error):
                m.d.sync += [part.eq(Part.BROKEN), empty.eq(0)]
            with m.Elif(mark):
                m.d.sync += [
                    self.end.eq(~empty),
                    part.eq(Part.HEADER), count.eq(0), words.eq(0), empty.eq(1), crc.eq(CRC_START),
                ]  # fmt: skip
            with m.Elif(escaped & ~stuffable):
                m.d.sync += part.eq(Part.BROKEN)  # no sender stuffs what it need not
            with m.Elif(escape):
                m.d.sync += [escaped.eq(1), empty.eq(0)]
            with m.Else():
                m.d.sync += [empty.eq(0), count.eq(count + 1)]
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
        return m
