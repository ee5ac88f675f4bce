"""Plays weights out of external memory, and lets the host read and write it."""

from amaranth.hdl import Module, Signal
from amaranth.lib import enum, stream
from amaranth.lib.wiring import Component, In, Out

from hdl.lib.ports import pass_ports
from hdl.lib.shapes import TOKEN_BITS, settings_layout
from hdl.memory.external_port import address_bits, memory_port, word_write_layout
from hdl.memory.part_player import PartPlayer
from isa.configurations import Configuration
from isa.external import PART


class Piece(enum.Enum, shape=2):
    """Which of a position's pieces is played (isa/external.py), in this order."""

    TOKEN = 0
    BODY = 1
    HEAD = 2


class ExternalReader(Component):
    """Plays each position's pieces (isa/external.py) into the rings; the host's way to the memory.

    begin: a pulse when a position starts; `token` and `runs_head` are constant from then until the
    position's last instruction has what it takes from the rings. A piece is read in one burst, as
    far ahead of the instructions as the rings have room. Rows, tables and rings: see PartPlayer.

    host: words that the host writes, at most one in two cycles. While `fetch` is set, the word at
    `address` is read: fetch_hold is set until fetch_data has it; 0 beyond the memory. Neither
    happens while a run goes on.

    played: a word came; full: one waits for room in its ring.
    """

    def __init__(self, c: Configuration) -> None:
        self.bits = bits = address_bits(c)
        self.player = PartPlayer(c)
        super().__init__(
            {
                **self.player.merged,
                "settings": In(settings_layout()),
                "begin": In(1),
                "token": In(TOKEN_BITS),
                "runs_head": In(1),
                "host": In(stream.Signature(word_write_layout(bits))),
                "fetch": In(1),
                "fetch_address": In(32),
                "fetch_hold": Out(1),
                "fetch_data": Out(32),
                "memory": Out(memory_port(bits)),
                "played": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.player = player = self.player
        pass_ports(m, player, self, player.merged)
        s, memory, request = self.settings, self.memory, self.memory.request
        begun, answered = Signal(), Signal()  # pieces wait to be played; `fetch_data` is there
        address = Signal(self.bits)  # of the next burst
        piece, part = Signal(Piece), Signal(PART.layout())
        m.d.comb += [
            request.payload.address.eq(address),
            memory.write.payload.eq(self.host.payload.data),
            memory.read.ready.eq(player.words.ready),
            player.words.payload.eq(memory.read.payload),
            player.words.valid.eq(memory.read.valid),
            player.part.eq(part),
            self.fetch_hold.eq(self.fetch & ~answered),
            self.played.eq(memory.read.valid & memory.read.ready & ~self.fetch),
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
        stride, tokens = Signal(self.bits), Signal(TOKEN_BITS)
        first_piece = [
            tokens.eq(self.token),
            address.eq(s.external_embedding),
            stride.eq(s.external_embedding_words),
            piece.eq(Piece.TOKEN),
        ]
        with m.FSM():
            self._between_runs(m, begun, answered, first_piece)
            with m.State("TOKEN"):  # address + token * words, an addition for each bit of the token
                m.d.sync += [tokens.eq(tokens >> 1), stride.eq(stride << 1)]
                with m.If(tokens[0]):
                    m.d.sync += address.eq(address + stride)
                with m.If(tokens == 0):
                    m.next = "REQUEST"
            self._pieces(m, address, piece, part)
        return m

    def _between_runs(self, m: Module, begun, answered, prepared) -> None:
        """Waits for a position to begin, and serves the host meanwhile, a word at a time.

        prepared: what to set for a position that may begin next.
        """
        memory, request = self.memory, self.memory.request
        beyond = (self.fetch_address >> self.bits).any()
        with m.State("IDLE"):
            m.d.sync += prepared
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

    def _pieces(self, m: Module, address, piece, part) -> None:
        """A burst for each piece, and in it part after part: a header, and words for the player."""
        s, memory, request = self.settings, self.memory, self.memory.request
        last_word = part.length == 1
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
            m.d.comb += self.player.play.eq(1)
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
