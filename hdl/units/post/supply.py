"""Parameter words of the post unit's instructions: where the next is, whether it has come."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib.wiring import Component, In, Out

from hdl.lib.shapes import settings_layout
from isa.configurations import Configuration
from isa.instructions import POST

ADDRESS_BITS = 18
_SETTLE = 2  # cycles until a stream's pointer and count are as its last reader left them


class ParameterSupply(Component):
    """Reads an instruction's parameter words one after another, from where it names or streamed.

    accept      `offered` becomes the instruction under way; `reads` and `biases` are its flags,
                use_parameters and use_bias, from the next cycle on
    tile_words  output words that the present tile still needs
    read        a parameter word is read in this cycle: `address` is the next one's in the next
    tile_end    it was the tile's last one: a stream's words are taken from the ring
    supplied    every word of a tile has come (always so without a stream): it comes out two cycles
                after an instruction that streams or has a residual, and after a tile of a stream.
                A residual may be what the instruction before writes: one more cycle apart

    pointer, available, take, take_words are the ring's, as Post.parameter_* has them.
    """

    def __init__(self, c: Configuration) -> None:
        self.c = c
        tile_word_bits = (c.lanes // c.vector_lanes).bit_length()
        super().__init__(
            {
                "settings": In(settings_layout()),
                "pointer": In(ADDRESS_BITS),
                "available": In(ADDRESS_BITS),
                "take": Out(1),
                "take_words": Out(16),
                "accept": In(1),
                "offered": In(POST.layout()),
                "reads": In(1),
                "biases": In(1),
                "tile_words": In(tile_word_bits),
                "read": In(1),
                "tile_end": In(1),
                "address": Out(ADDRESS_BITS),
                "streaming": Out(1),
                "supplied": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        offered, streaming = self.offered, self.streaming
        base, mask = self.settings.parameter_ring_base, self.settings.parameter_ring_mask
        settling, settled = Signal(_SETTLE), Signal()  # one bit moves up, a place a cycle
        needed, enough = Signal(len(self.tile_words) + 2), Signal()
        again = self.tile_end & streaming
        following = self.address + 1
        m.d.comb += [
            self.supplied.eq(settled & (enough | ~streaming)),
            self.take_words.eq(needed),
        ]
        m.d.sync += [
            self.take.eq(again),
            enough.eq(self.available >= needed),
            settling.eq(Cat(again, settling[:-1])),
        ]
        with m.If(settling[0]):
            words = self.tile_words
            m.d.sync += needed.eq(Mux(self.biases, words + (words << 1), words))
        with m.If(self.reads & self.read):
            m.d.sync += self.address.eq(Mux(streaming, base | (following & mask), following))
        with m.If(settling[-1]):
            m.d.sync += settled.eq(1)
            with m.If(streaming):
                m.d.sync += self.address.eq(base | (self.pointer & mask))
        with m.If(again):
            m.d.sync += settled.eq(0)
        with m.If(self.accept):
            settles = offered.stream | offered.use_residual
            m.d.sync += [
                self.address.eq(offered.parameters),
                streaming.eq(offered.use_parameters & offered.stream),
                settling.eq(settles),
                settled.eq(~settles),
            ]
        return m
