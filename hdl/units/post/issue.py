"""The post unit's front: takes instructions and tiles and starts one word of sums at a time."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
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
from isa.configurations import Configuration
from isa.formats import DROP, EXPONENT, GAIN, UNITY_MANTISSA
from isa.instructions import POST, Scale

COUNT_BITS = 18
ADDRESS_BITS = 18
_SETTLE = 2


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

    context is the instruction under way, last_index its last element, from the cycle after
    `accepted` to the one after its last word at least. sends: logits go to the host; no other
    instruction is taken until `sent`. room: the logits queue can take another word, which
    `reserve` announces.
    tile_taken pops the tile, two cycles after its last word was issued. A bias takes three
    parameter words, so its words come every three cycles.
    """

    def __init__(self, c: Configuration) -> None:
        self.c = c
        self.tile_words = c.lanes // c.vector_lanes
        super().__init__(
            {
                "instruction": In(stream.Signature(POST.layout())),
                "position": In(POSITION_BITS),
                "settings": In(settings_layout()),
                "send_logits": In(1),
                "tiles": In(stream.Signature(tile_layout())),
                "tile_taken": In(1),
                "read_word": Out(range(self.tile_words)),
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
        c, context = self.c, self.context
        lane_bits = (c.vector_lanes - 1).bit_length()
        tile_word_bits = self.tile_words.bit_length()

        fresh = Signal()  # no word was issued yet
        popping = Signal()  # the tile's last word was issued, its sum is still to come
        exhausted = Signal()  # and it was the instruction's last word
        phase = Signal(2)  # parameter words read of the present output word
        words_left = Signal(COUNT_BITS - lane_bits)  # after the present one
        last = Signal()  # none
        address = Signal(ADDRESS_BITS)
        settling = Signal(_SETTLE)  # one bit moves up, a cycle a place
        # Decisions about a word, made a cycle before it: one can be issued; the parameters have
        # settled; it is the last that a tile can have.
        waiting, settled, at_end = Signal(), Signal(), Signal()

        offered = self.instruction.payload
        last_index, one_word = Signal(COUNT_BITS), Signal()
        m.d.comb += [
            last_index.eq(Mux(offered.dynamic_count, self.position, offered.count - 1)),
            one_word.eq(
                Mux(
                    offered.count[:lane_bits].any(),
                    (offered.count >> lane_bits) == 0,
                    (offered.count >> lane_bits) == 1,
                )
            ),
            self.instruction.ready.eq(~self.active & ~self.sends),
            self.accepted.eq(self.instruction.valid & self.instruction.ready),
        ]

        # Parameters from the ring: all words of a tile, or none.
        reads, streaming = context.use_parameters, Signal()  # the latter of the context, too
        needed, enough = Signal(tile_word_bits + 2), Signal()
        words = Signal(tile_word_bits)
        tile_size = Signal(tile_word_bits)
        m.d.comb += [
            words.eq(Mux(words_left >= tile_size, tile_size, words_left + 1)),
        ]
        with m.If(settling[0]):
            m.d.sync += needed.eq(Mux(context.use_bias, words + (words << 1), words))
        m.d.sync += enough.eq(self.parameter_available >= needed)

        supplied, issue = Signal(), Signal()
        tile_last = Signal()
        tile_end = Signal()  # the tile's last parameter word is being read
        m.d.comb += [
            supplied.eq(settled & (enough | ~streaming)),
            issue.eq(waiting & self.tiles.valid & supplied & (self.room | ~self.sends)),
            tile_last.eq(last | at_end),
            tile_end.eq(Mux(context.use_bias, (phase == 2) & popping, issue & tile_last)),
            self.wait_stall.eq(waiting & ~self.tiles.valid),
            self.stream_stall.eq(waiting & self.tiles.valid & streaming & ~supplied),
            self.tiles.ready.eq(self.tile_taken),
            self.parameter_address.eq(address),
            self.parameter_take_words.eq(needed),
            self.scalar.address.eq(context.scalar),
            self.reserve.eq(issue & self.sends),
        ]
        m.d.sync += self.parameter_take.eq(tile_end & streaming)

        ring_mask = self.settings.parameter_ring_mask
        following = address + 1
        with m.If(reads & (issue | (phase != 0))):
            m.d.sync += address.eq(
                Mux(streaming, _in_ring(self.settings, following), following)
            )
        again = tile_end & streaming
        m.d.sync += settling.eq(Cat(again, settling[:-1]))
        with m.If(settling[-1]):
            m.d.sync += settled.eq(1)
            with m.If(streaming):
                m.d.sync += address.eq(
                    self.settings.parameter_ring_base | (self.parameter_pointer & ring_mask)
                )

        with m.If(issue):
            m.d.sync += [
                self.read_word.eq(Mux(tile_last, context.lane_offset, self.read_word + 1)),
                fresh.eq(0),
                words_left.eq(words_left - 1),
                last.eq(words_left == 1),
                popping.eq(tile_last),
                exhausted.eq(last),
                at_end.eq(
                    Mux(
                        tile_last,
                        context.lane_offset == self.tile_words - 1,
                        self.read_word == self.tile_words - 2,
                    )
                ),
            ]
        with m.If(issue & context.use_bias):
            m.d.sync += phase.eq(1)
        with m.Elif(phase != 0):
            m.d.sync += phase.eq(Mux(phase == 2, 0, 2))
        ends = tile_end & Mux(context.use_bias, exhausted, last)
        with m.If(self.tile_taken):
            m.d.sync += popping.eq(0)
        with m.If(again):
            m.d.sync += settled.eq(0)
        with m.If(ends):
            m.d.sync += self.active.eq(0)
        with m.If(issue):
            m.d.sync += waiting.eq(~(tile_last | context.use_bias))
        with m.Elif(self.tile_taken):
            m.d.sync += waiting.eq(self.active & ~ends)
        with m.Elif((phase == 2) & ~popping):
            m.d.sync += waiting.eq(1)
        with m.If(self.sent):
            m.d.sync += self.sends.eq(0)
        with m.If(~self.active):
            m.d.sync += [
                self.read_word.eq(offered.lane_offset),
                at_end.eq(offered.lane_offset == self.tile_words - 1),
            ]
        with m.If(self.accepted):
            m.d.sync += [
                context.eq(offered),
                streaming.eq(offered.use_parameters & offered.stream),
                context.use_bias.eq(offered.use_bias & offered.use_parameters),
                self.last_index.eq(last_index),
                words_left.eq(last_index >> lane_bits),
                last.eq(Mux(offered.dynamic_count, (self.position >> lane_bits) == 0, one_word)),
                address.eq(offered.parameters),
                self.sends.eq(offered.to_host & self.send_logits),
                self.active.eq(1),
                fresh.eq(1),
                # A residual may be what the instruction before writes: one more cycle apart. A
                # stream needs the pointer and the count as its last reader left them.
                settling.eq(offered.stream | offered.use_residual),
                settled.eq(~(offered.stream | offered.use_residual)),
                waiting.eq(~popping | self.tile_taken),
                tile_size.eq(self.tile_words - offered.lane_offset),
            ]
        self._describe(m, issue, fresh, last, tile_last)
        return m

    def _describe(self, m: Module, issue, fresh, last, tile_last) -> None:
        context, tile, word = self.context, self.tiles.payload, self.issued
        m.d.sync += [
            word.valid.eq(issue),
            word.first.eq(fresh),
            word.last.eq(last),
            word.tile_last.eq(issue & tile_last),
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


def _in_ring(settings, address):
    """A parameter memory address folded into the ring."""
    mask = settings.parameter_ring_mask
    return settings.parameter_ring_base | (address & mask)
