"""Words of the post unit's instruction under way: which is next, and is it a last one."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.wiring import Component, In, Out

from hdl.lib.counters import CountDown
from hdl.lib.shapes import POSITION_BITS
from isa.configurations import Configuration
from isa.instructions import POST

COUNT_BITS = 18


class WordCount(Component):
    """Counts an instruction's words, and those of the tile that they are read from.

    accept      `offered` becomes the instruction under way; last_index, its last element, and all
                that is said of its first word come in the next cycle
    active      an instruction is under way: until then read_word follows what is offered
    lane_offset its first word in every tile
    issue       the present word is asked for: the next one is present in the next cycle

    Of the present word: `first` and `last` of the instruction, tile_last of its tile, its number
    read_word in the tile, and tile_words, how many words of the instruction its tile has from it on
    (right while a tile's first word is present).
    """

    def __init__(self, c: Configuration) -> None:
        self.c = c
        self.tile_words_most = c.lanes // c.vector_lanes
        super().__init__(
            {
                "position": In(POSITION_BITS),
                "accept": In(1),
                "offered": In(POST.layout()),
                "active": In(1),
                "lane_offset": In(POST.layout()["lane_offset"].shape),
                "issue": In(1),
                "last_index": Out(COUNT_BITS),
                "read_word": Out(range(self.tile_words_most)),
                "tile_words": Out(self.tile_words_most.bit_length()),
                "first": Out(1),
                "last": Out(1),
                "tile_last": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        c, offered, most = self.c, self.offered, self.tile_words_most
        lane_bits = (c.vector_lanes - 1).bit_length()
        after = CountDown(COUNT_BITS - lane_bits, "words", end=0)  # the present one
        at_end = Signal()  # the present word is the last that a tile can have
        size = Signal.like(self.tile_words)  # of a tile whose words are all needed
        last_index, one_word = Signal(COUNT_BITS), Signal()
        whole_words = offered.count >> lane_bits
        m.d.comb += [
            self.last.eq(after.last),
            self.tile_last.eq(self.last | at_end),
            self.tile_words.eq(Mux(after.left >= size, size, after.left + 1)),
            last_index.eq(Mux(offered.dynamic_count, self.position, offered.count - 1)),
            one_word.eq(
                Mux(offered.count[:lane_bits].any(), whole_words == 0, whole_words == 1)
            ),
        ]
        # Comparisons are made a word before, or with what is offered: they come out of registers.
        with m.If(self.issue):
            m.d.sync += [
                *after.step(),
                self.first.eq(0),
                self.read_word.eq(Mux(self.tile_last, self.lane_offset, self.read_word + 1)),
                at_end.eq(
                    Mux(self.tile_last, self.lane_offset == most - 1, self.read_word == most - 2)
                ),
            ]
        with m.If(~self.active):
            m.d.sync += [
                self.read_word.eq(offered.lane_offset),
                at_end.eq(offered.lane_offset == most - 1),
            ]
        with m.If(self.accept):
            dynamic_one = (self.position >> lane_bits) == 0
            m.d.sync += [
                *after.load(
                    last_index >> lane_bits, Mux(offered.dynamic_count, dynamic_one, one_word)
                ),
                self.last_index.eq(last_index),
                self.first.eq(1),
                size.eq(most - offered.lane_offset),
            ]
        return m
