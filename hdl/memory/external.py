"""External memory as the device sees it: a port of bursts, and what plays weights out of it."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, unsigned
from amaranth.lib import enum, stream
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import Component, In, Out, Signature

from hdl.lib.shapes import TOKEN_BITS, row_write_layout, settings_layout, table_write
from isa.configurations import Configuration
from isa.external import PART
from isa.packets import Space


def address_bits(c: Configuration) -> int:
    """Bits of an external memory word's address."""
    return (c.external_words - 1).bit_length()


def burst_layout(bits: int) -> StructLayout:
    """`length` words from `address` on: to be read, or with `write` to be written."""
    return StructLayout({"address": unsigned(bits), "length": unsigned(bits), "write": unsigned(1)})


def memory_port(bits: int) -> Signature:
    """External memory seen from the device, in 32-bit words of `bits` address bits.

    Bursts are executed in order. For a written burst the memory takes `length` words of `write`
    after the request; for a read one it gives `length` words of `read`. A burst has at least one
    word and does not cross the end of memory.
    """
    return Signature(
        {
            "request": Out(stream.Signature(burst_layout(bits))),
            "write": Out(stream.Signature(unsigned(32))),
            "read": In(stream.Signature(unsigned(32))),
        }
    )


def word_write_layout(bits: int) -> StructLayout:
    """One word that the host writes."""
    return StructLayout({"address": unsigned(bits), "data": unsigned(32)})


class Piece(enum.Enum, shape=2):
    TOKEN = 0
    BODY = 1
    HEAD = 2


class ExternalMemory(Component):
    """Plays each position's pieces (isa/external.py) into the rings; the host's way to the memory.

    begin: a pulse when a position starts; `token` and `runs_head` are constant from then until the
    position's last instruction has what it takes from the rings. A piece is read in one burst, as
    far ahead as the rings have room. rows, tables, row_done, parameter_done: what the receiver
    writes (..._in, which goes first) and what is played. Ring ports: see hdl.link.receiver.

    host: words that the host writes, at most one in two cycles. While `fetch` is set, the word at
    `address` is read: fetch_hold is set until fetch_data has it; 0 beyond the memory. Neither
    happens while a run goes on.

    played: a word came; full: one waits for room in its ring.
    """

    def __init__(self, c: Configuration) -> None:
        self.c = c
        self.bits = bits = address_bits(c)
        super().__init__(
            {
                "settings": In(settings_layout()),
                "begin": In(1),
                "token": In(TOKEN_BITS),
                "runs_head": In(1),
                "rows_in": In(stream.Signature(row_write_layout(c))),
                "rows": Out(stream.Signature(row_write_layout(c))),
                "tables_in": In(table_write()),
                "tables": Out(table_write()),
                "row_address": In(20),
                "row_ready": In(1),
                "row_done_in": In(1),
                "row_done": Out(1),
                "parameter_address": In(18),
                "parameter_ready": In(1),
                "parameter_done_in": In(1),
                "parameter_done": Out(1),
                "host": In(stream.Signature(word_write_layout(bits))),
                "fetch": In(1),
                "fetch_address": In(32),
                "fetch_hold": Out(1),
                "fetch_data": Out(32),
                "memory": Out(memory_port(bits)),
                "played": Out(1),
                "full": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        s, memory, bits = self.settings, self.memory, self.bits
        begun, answered = Signal(), Signal()
        address = Signal(bits)
        stride, tokens = Signal(bits), Signal(TOKEN_BITS)
        piece = Signal(Piece)
        part = Signal(PART.layout())
        beyond = (self.fetch_address >> bits).any()
        play, last_word = Signal(), Signal()
        request = memory.request
        m.d.comb += [
            request.payload.address.eq(address),
            memory.write.payload.eq(self.host.payload.data),
            self.fetch_hold.eq(self.fetch & ~answered),
        ]
        with m.Switch(piece):
            with m.Case(Piece.TOKEN):
                m.d.comb += request.payload.length.eq(s.external_embedding_words)
            with m.Case(Piece.BODY):
                m.d.comb += request.payload.length.eq(s.external_body_words)
            with m.Default():
                m.d.comb += request.payload.length.eq(s.external_head_words)
        with m.If(self.begin & s.external_enable):
            m.d.sync += begun.eq(1)
        with m.If(~self.fetch):
            m.d.sync += answered.eq(0)

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [
                    tokens.eq(self.token),
                    address.eq(s.external_embedding),
                    stride.eq(s.external_embedding_words),
                    piece.eq(Piece.TOKEN),
                ]
                with m.If(begun):
                    m.d.sync += begun.eq(0)
                    m.next = "TOKEN"
                with m.Elif(self.fetch_hold):
                    with m.If(beyond):
                        m.d.sync += [self.fetch_data.eq(0), answered.eq(1)]
                    with m.Else():
                        m.d.comb += [
                            request.valid.eq(1),
                            request.payload.address.eq(self.fetch_address),
                            request.payload.length.eq(1),
                        ]
                        with m.If(request.ready):
                            m.next = "FETCH"
                with m.Else():
                    m.d.comb += [
                        request.valid.eq(self.host.valid),
                        request.payload.address.eq(self.host.payload.address),
                        request.payload.length.eq(1),
                        request.payload.write.eq(1),
                    ]
                    with m.If(self.host.valid & request.ready):
                        m.next = "WRITE"
            with m.State("WRITE"):
                m.d.comb += [memory.write.valid.eq(1), self.host.ready.eq(memory.write.ready)]
                with m.If(memory.write.ready):
                    m.next = "IDLE"
            with m.State("FETCH"):
                m.d.comb += memory.read.ready.eq(1)
                m.d.sync += self.fetch_data.eq(memory.read.payload)
                with m.If(memory.read.valid):
                    m.d.sync += answered.eq(1)
                    m.next = "IDLE"
            with m.State("TOKEN"):  # address + token * words, an addition for each bit of the token
                m.d.sync += [tokens.eq(tokens >> 1), stride.eq(stride << 1)]
                with m.If(tokens[0]):
                    m.d.sync += address.eq(address + stride)
                with m.If(tokens == 0):
                    m.next = "REQUEST"
            with m.State("REQUEST"):
                m.d.comb += request.valid.eq(1)
                with m.If(request.ready):
                    m.next = "HEADER"
            with m.State("HEADER"):
                m.d.comb += memory.read.ready.eq(1)
                m.d.sync += part.eq(memory.read.payload)
                with m.If(memory.read.valid):
                    m.next = "PLAY"
            with m.State("PLAY"):
                m.d.comb += play.eq(1)
                with m.If(memory.read.valid & memory.read.ready):
                    m.d.sync += part.length.eq(part.length - 1)
                    with m.If(last_word):
                        m.next = "HEADER"
                    with m.If(last_word & part.last):
                        m.next = "REQUEST"
                        with m.If(piece == Piece.TOKEN):
                            m.d.sync += [piece.eq(Piece.BODY), address.eq(s.external_body)]
                        with m.Elif((piece == Piece.BODY) & self.runs_head):
                            m.d.sync += [piece.eq(Piece.HEAD), address.eq(s.external_head)]
                        with m.Else():
                            m.next = "IDLE"
            m.d.comb += self.played.eq(
                memory.read.valid & memory.read.ready & ~self.fetch
            )
        m.d.comb += last_word.eq(part.length == 1)
        self._entries(m, part, play)
        return m

    def _entries(self, m: Module, part, play) -> None:
        """Words of a part go to the rings; the merge with what the receiver writes."""
        c, word = self.c, self.memory.read
        row_words, parameter_words = c.lanes // 4, c.vector_lanes // 2
        place, core = Signal(range(row_words)), Signal(range(c.cores))
        half = Signal(range(parameter_words))  # word of a parameter entry
        row_end, room, taken = Signal(), Signal(), Signal()
        to_row, to_table = Signal(), Signal()
        m.d.comb += [
            room.eq(Mux(part.parameter, self.parameter_ready, self.row_ready)),
            to_row.eq(play & word.valid & room & ~part.parameter),
            to_table.eq(play & word.valid & room & part.parameter),
            taken.eq(
                (to_row & self.rows.ready & ~self.rows_in.valid)
                | (to_table & ~self.tables_in.enable)
            ),
            self.full.eq(play & word.valid & ~room),
            row_end.eq((place == part.row_words) & (part.one_core | (core == c.cores - 1))),
            self.row_done.eq(self.row_done_in | (taken & to_row & row_end)),
            self.parameter_done.eq(
                self.parameter_done_in | (taken & to_table & (half == parameter_words - 1))
            ),
        ]
        with m.If(play):
            m.d.comb += word.ready.eq(taken)
        with m.If(taken & part.parameter):
            m.d.sync += half.eq(half + 1)
        with m.If(taken & ~part.parameter):
            m.d.sync += place.eq(place + 1)
            with m.If(place == part.row_words):
                m.d.sync += [place.eq(0), core.eq(Mux(row_end, 0, core + 1))]

        rows, played = self.rows.payload, word.payload
        m.d.comb += [
            self.rows.valid.eq(self.rows_in.valid | to_row),
            self.rows_in.ready.eq(self.rows.ready),
            self.tables.enable.eq(self.tables_in.enable | to_table),
        ]
        with m.If(self.rows_in.valid):
            m.d.comb += rows.eq(self.rows_in.payload)
        with m.Else():
            m.d.comb += [
                rows.address.eq(self.row_address),
                rows.cores.eq(1 << core),
                rows.lanes.eq(Array(0xF << 4 * i for i in range(row_words))[place]),
                *(rows.data[i].eq(played.word_select(i % 4, 8)) for i in range(len(rows.data))),
            ]
        with m.If(self.tables_in.enable):
            for name in ("space", "address", "data"):
                m.d.comb += getattr(self.tables, name).eq(getattr(self.tables_in, name))
        with m.Else():
            m.d.comb += [
                self.tables.space.eq(Space.PARAMETER),
                self.tables.address.eq(Cat(half, self.parameter_address)),
                self.tables.data.eq(played),
            ]
