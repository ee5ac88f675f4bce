"""Frame receiver: bytes off the line become words, which prove good or not at their frame's end."""

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import enum, stream
from amaranth.lib.wiring import Component, In, Out

from hdl.lib.pipeline import delayed
from hdl.link.frame_check import CRC_START, crc_step
from hdl.link.uart import received_layout
from isa.frames import CHECK_BYTES, ESCAPE, ESCAPE_XOR, HEADER, HEADER_BYTES, MARK


class Part(enum.Enum, shape=3):
    HEADER = 0
    PAYLOAD = 1
    CHECK = 2
    WHOLE = 3
    BROKEN = 4  # no byte counts until the next mark


class ByteKind:
    """A byte and what it is, in registers.

    mark: the byte is a MARK. come: it is any other, a spoilt one (`error`) too. plain: it is a byte
    of a frame, so neither spoilt nor an ESCAPE. escape: it is one. stuffable: behind one it stands
    for a byte that a sender stuffs. `byte`, `error`, `escape`, `stuffable` belong to `come`.
    """

    def __init__(self) -> None:
        self.mark, self.come, self.plain = Signal(), Signal(), Signal()
        self.byte, self.error = Signal(8, reset_less=True), Signal(reset_less=True)
        self.escape, self.stuffable = Signal(reset_less=True), Signal(reset_less=True)

    def follow(self, m: Module, bytes_: stream.Interface) -> None:
        """Says it of what came a cycle ago."""
        byte, valid, spoilt = bytes_.payload.data, bytes_.valid, bytes_.payload.error
        m.d.sync += [
            self.come.eq(valid & ((byte != MARK) | spoilt)),
            self.mark.eq(valid & (byte == MARK) & ~spoilt),
            self.plain.eq(valid & (byte != MARK) & (byte != ESCAPE) & ~spoilt),
            self.error.eq(spoilt),
            self.byte.eq(byte),
            self.escape.eq(byte == ESCAPE),
            self.stuffable.eq((byte == MARK ^ ESCAPE_XOR) | (byte == ESCAPE ^ ESCAPE_XOR)),
        ]


class FrameReceiver(Component):
    """Takes a byte a cycle. It has no memory: words go out before their frame is known to be good.

    `word` is valid for a cycle for each payload word, `index` counts them from 0. `end` is set for
    a cycle, END_LATENCY behind the mark that ends a frame of at least one byte; `header` belongs to
    it, and `outside` says that it is a good frame outside sessions, `inside` that it is a good
    frame of `session`. With neither of them the frame is damaged, of another session, or garbage.

    After a reset no byte counts until the first mark, which sets all registers that have no reset.
    """

    END_LATENCY = 2

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
        kind = ByteKind()
        kind.follow(m, self.bytes)
        part = Signal(Part, init=Part.BROKEN)
        count = Signal(3, reset_less=True)  # bytes of the header, or of a word
        words = Signal(8, reset_less=True)  # payload words so far
        escaped, empty = Signal(reset_less=True), Signal(init=1)
        shift, header = Signal(32, reset_less=True), Signal(HEADER.bits, reset_less=True)
        crc = Signal(32, init=CRC_START, reset_less=True)
        value = Signal(8)
        m.d.comb += [
            value.eq(Mux(escaped, kind.byte ^ ESCAPE_XOR, kind.byte)),
            self.header.as_value().eq(header),
            self.word.eq(shift),
            self.index.eq(delayed(m, words, name="index")),
        ]
        m.d.sync += [self.end.eq(kind.mark & ~empty), self.word_valid.eq(0)]
        self._judge(m, (part == Part.WHOLE) & ~escaped, ~crc ^ shift)
        with m.If(kind.come):
            m.d.sync += [escaped.eq(0), empty.eq(0)]
            with m.If(kind.error | (escaped & ~kind.stuffable)):
                m.d.sync += part.eq(Part.BROKEN)  # no sender stuffs what it need not
            with m.Elif(kind.escape):
                m.d.sync += escaped.eq(1)
        last = count == CHECK_BYTES - 1  # byte of a word
        # A cycle late: words come four bytes apart.
        last_word = delayed(m, words + 1 == self.header.length, name="last_word")
        with m.If(kind.plain & (~escaped | kind.stuffable)):
            m.d.sync += count.eq(count + 1)
            with m.Switch(part):
                with m.Case(Part.HEADER):
                    m.d.sync += [
                        crc.eq(crc_step(crc, value)), header.eq(Cat(header[8:], value)),
                    ]  # fmt: skip
                    with m.If(count == HEADER_BYTES - 1):
                        # The length is one byte further up until this byte is in.
                        m.d.sync += [
                            count.eq(0),
                            part.eq(Mux(header[16:24] == 0, Part.CHECK, Part.PAYLOAD)),
                        ]
                with m.Case(Part.PAYLOAD):
                    m.d.sync += [crc.eq(crc_step(crc, value)), shift.eq(Cat(shift[8:], value))]
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
        with m.If(kind.mark):
            m.d.sync += [
                part.eq(Part.HEADER), escaped.eq(0), empty.eq(1),
                count.eq(0), words.eq(0), crc.eq(CRC_START),
            ]  # fmt: skip
        return m

    def _judge(self, m: Module, whole, difference) -> None:
        """Whether the frame so far is a good one. difference: of the CRC and the check."""
        found = delayed(m, whole, name="whole")
        for target, expected in ((self.outside, 0), (self.inside, self.session)):
            good = delayed(m, difference == expected, name=f"good_{target.name}")
            m.d.comb += target.eq(found & good)
