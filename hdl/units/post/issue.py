"""The post unit's front: takes instructions and tiles and asks for one word of sums at a time."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import stream
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import Component, In, Out

from hdl.lib.shapes import (
    POSITION_BITS,
    SCALAR_EXPONENT_BITS,
    register_read,
    scalar_layout,
    settings_layout,
    tile_layout,
)
from hdl.units.post.supply import ADDRESS_BITS, ParameterSupply
from hdl.units.post.words import COUNT_BITS, WordCount
from isa.configurations import Configuration
from isa.formats import DROP, EXPONENT, GAIN, UNITY_MANTISSA
from isa.instructions import POST, Scale


def issue_layout() -> StructLayout:
    """A word on its way, as it is in the cycle after its start."""
    return StructLayout(
        {
            "valid": 1,
            "first": 1,  # word of the instruction
            "last": 1,
            "tile_last": 1,
            "use_parameters": 1,
            "use_bias": 1,
            "key_exponents": 1,
            "gain": GAIN.bits,
            "drop": DROP.bits,
            "mantissa": GAIN.bits,
            "shift": signed(10),
            "exponent": signed(EXPONENT.bits),  # to be subtracted from the shift
            "scale_exponent": signed(SCALAR_EXPONENT_BITS),  # the same
        }
    )


class PostIssue(Component):
    """Issues the words of an instruction; `issued` describes the word of the cycle before.

    A word is asked for when a tile is valid, the parameters of all its words have come, and, where
    logits go to the host (`sends`), the queue of logits has `room` for it, which `reserve` takes.
    The tile is taken with `tile_taken`, stages.TILE_TAKEN cycles after its last word. A word with
    a bias takes three parameter words, so that such words come every three cycles.

    `context` is the instruction under way and last_index its last element, from the cycle after
    `accepted` to the one after its last word at least. The next one is accepted when its last word
    has been asked for; behind one that sends, when `sent` says that the host has all its logits.
    """

    def __init__(self, c: Configuration) -> None:
        self.c = c
        tile_words = c.lanes // c.vector_lanes
        super().__init__(
            {
                "instruction": In(stream.Signature(POST.layout())),
                "position": In(POSITION_BITS),
                "settings": In(settings_layout()),
                "send_logits": In(1),
                "tiles": In(stream.Signature(tile_layout())),
                "tile_taken": In(1),
                "read_word": Out(range(tile_words)),
                "parameter_address": Out(ADDRESS_BITS),
                "parameter_pointer": In(ADDRESS_BITS),
                "parameter_available": In(ADDRESS_BITS),
                "parameter_take": Out(1),
                "parameter_take_words": Out(16),
                "scalar": Out(register_read(6, scalar_layout())),
                "issued": Out(issue_layout()),
                "accepted": Out(1),
                "context": Out(POST.layout()),
                "last_index": Out(COUNT_BITS),
                "sends": Out(1),
                "active": Out(1),
                "sent": In(1),
                "room": In(1),
                "reserve": Out(1),
                "wait_stall": Out(1),
                "stream_stall": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        c, context, offered = self.c, self.context, self.instruction.payload
        m.submodules.supply = supply = ParameterSupply(c)
        m.submodules.words = words = WordCount(c)
        waiting = Signal()  # a word can be issued, as far as the words before it are concerned
        popping = Signal()  # the tile's last word was issued, its sum is still to come
        exhausted = Signal()  # and it was the instruction's last word
        phase = Signal(2)  # parameter words read of the present word
        issue, ends = Signal(), Signal()
        tile_end = Signal()  # the tile's last parameter word is being read

        self._connect(m, supply, words, issue)
        m.d.comb += [
            self.instruction.ready.eq(~self.active & ~self.sends),
            self.accepted.eq(self.instruction.valid & self.instruction.ready),
            issue.eq(waiting & self.tiles.valid & supply.supplied & (self.room | ~self.sends)),
            tile_end.eq(Mux(context.use_bias, (phase == 2) & popping, issue & words.tile_last)),
            ends.eq(tile_end & Mux(context.use_bias, exhausted, words.last)),
            supply.read.eq(issue | (phase != 0)),
            supply.tile_end.eq(tile_end),
            self.tiles.ready.eq(self.tile_taken),
            self.reserve.eq(issue & self.sends),
            self.wait_stall.eq(waiting & ~self.tiles.valid),
            self.stream_stall.eq(
                waiting & self.tiles.valid & supply.streaming & ~supply.supplied
            ),
        ]
        with m.If(issue & context.use_bias):
            m.d.sync += phase.eq(1)
        with m.Elif(phase != 0):
            m.d.sync += phase.eq(Mux(phase == 2, 0, 2))
        with m.If(issue):
            m.d.sync += [popping.eq(words.tile_last), exhausted.eq(words.last)]
        with m.If(self.tile_taken):
            m.d.sync += popping.eq(0)

        # Whose turn is next: the word behind this one, or behind its biases, or the next tile's.
        with m.If(issue):
            m.d.sync += waiting.eq(~(words.tile_last | context.use_bias))
        with m.Elif(self.tile_taken):
            m.d.sync += waiting.eq(self.active & ~ends)
        with m.Elif((phase == 2) & ~popping):
            m.d.sync += waiting.eq(1)
        with m.If(ends):
            m.d.sync += self.active.eq(0)
        with m.If(self.sent):
            m.d.sync += self.sends.eq(0)
        with m.If(self.accepted):
            m.d.sync += [
                context.eq(offered),
                context.use_bias.eq(offered.use_bias & offered.use_parameters),
                self.sends.eq(offered.to_host & self.send_logits),
                self.active.eq(1),
                waiting.eq(~popping | self.tile_taken),
            ]
        self._describe(m, issue, words)
        return m

    def _connect(self, m: Module, supply: ParameterSupply, words: WordCount, issue: Signal) -> None:
        m.d.comb += [
            supply.settings.eq(self.settings),
            supply.pointer.eq(self.parameter_pointer),
            supply.available.eq(self.parameter_available),
            supply.accept.eq(self.accepted),
            supply.offered.eq(self.instruction.payload),
            supply.reads.eq(self.context.use_parameters),
            supply.biases.eq(self.context.use_bias),
            supply.tile_words.eq(words.tile_words),
            self.parameter_address.eq(supply.address),
            self.parameter_take.eq(supply.take),
            self.parameter_take_words.eq(supply.take_words),
            words.position.eq(self.position),
            words.accept.eq(self.accepted),
            words.offered.eq(self.instruction.payload),
            words.active.eq(self.active),
            words.lane_offset.eq(self.context.lane_offset),
            words.issue.eq(issue),
            self.last_index.eq(words.last_index),
            self.read_word.eq(words.read_word),
            self.scalar.address.eq(self.context.scalar),
        ]

    def _describe(self, m: Module, issue: Signal, words: WordCount) -> None:
        context, tile, word = self.context, self.tiles.payload, self.issued
        m.d.sync += [
            word.valid.eq(issue),
            word.first.eq(words.first),
            word.last.eq(words.last),
            word.tile_last.eq(issue & words.tile_last),
            word.use_parameters.eq(context.use_parameters),
            word.use_bias.eq(context.use_bias),
            word.key_exponents.eq(context.key_exponents),
            word.gain.eq(context.gain),
            word.drop.eq(context.drop),
            word.shift.eq(context.shift),
            word.exponent.eq(Mux(context.use_exponent, tile.exponent, 0)),
        ]
        with m.Switch(context.scale):
            with m.Case(Scale.NORM):
                m.d.sync += word.mantissa.eq(tile.norm_mantissa)
                m.d.sync += word.scale_exponent.eq(tile.norm_exponent)
            with m.Case(Scale.SCALAR):
                m.d.sync += word.mantissa.eq(self.scalar.data.mantissa)
                m.d.sync += word.scale_exponent.eq(self.scalar.data.exponent)
            with m.Default():
                m.d.sync += word.mantissa.eq(UNITY_MANTISSA)
                m.d.sync += word.scale_exponent.eq(0)
