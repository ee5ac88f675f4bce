"""The words of a part of external memory become entries of the two rings."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, unsigned
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out

from hdl.lib.shapes import row_write_layout, table_write
from hdl.memory.rows import ROW_ADDRESS_BITS
from hdl.memory.tables import PARAMETER_ADDRESS_BITS
from isa.configurations import Configuration
from isa.external import PART
from isa.packets import Space


class PartPlayer(Component):
    """Writes the words of a part (isa/external.py) into the row ring or the parameter ring, between
    what the receiver writes.

    While `play` is set a word is taken when its ring has room and the receiver does not write; it
    is written in the same cycle. `full`: a word waits for room. rows_in, tables_in, row_done_in,
    parameter_done_in: what the receiver writes, which is never delayed by a part. rows, tables,
    row_done, parameter_done: the two together. row_address, row_ready, parameter_address,
    parameter_ready: where the next entry of a ring goes, as in hdl.link.receiver.
    """

    def __init__(self, c: Configuration) -> None:
        self.c = c
        rows = stream.Signature(row_write_layout(c))
        self.merged = {
            "rows_in": In(rows),
            "rows": Out(rows),
            "tables_in": In(table_write()),
            "tables": Out(table_write()),
            "row_address": In(ROW_ADDRESS_BITS),
            "row_ready": In(1),
            "row_done_in": In(1),
            "row_done": Out(1),
            "parameter_address": In(PARAMETER_ADDRESS_BITS),
            "parameter_ready": In(1),
            "parameter_done_in": In(1),
            "parameter_done": Out(1),
            "full": Out(1),
        }
        """Ports towards the receiver, the rings and their memories."""
        super().__init__(
            {
                **self.merged,
                "play": In(1),
                "part": In(PART.layout()),
                "words": In(stream.Signature(unsigned(32))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        c, part, word = self.c, self.part, self.words
        # The place of a word: in a core's row and which core, or in an entry of parameters.
        place, core = Signal(range(c.lanes // 4)), Signal(range(c.cores))
        parameter_words = c.vector_lanes // 2
        half = Signal(range(parameter_words))
        row_end, room, to_row, to_table = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            room.eq(Mux(part.parameter, self.parameter_ready, self.row_ready)),
            to_row.eq(self.play & word.valid & room & ~part.parameter),
            to_table.eq(self.play & word.valid & room & part.parameter),
            word.ready.eq(
                (to_row & self.rows.ready & ~self.rows_in.valid)
                | (to_table & ~self.tables_in.enable)
            ),
            self.full.eq(self.play & word.valid & ~room),
            row_end.eq((place == part.row_words) & (part.one_core | (core == c.cores - 1))),
            self.row_done.eq(self.row_done_in | (word.ready & to_row & row_end)),
            self.parameter_done.eq(
                self.parameter_done_in
                | (word.ready & to_table & (half == parameter_words - 1))
            ),
        ]
        with m.If(word.ready & part.parameter):
            m.d.sync += half.eq(half + 1)
        with m.If(word.ready & ~part.parameter):
            m.d.sync += place.eq(place + 1)
            with m.If(place == part.row_words):
                m.d.sync += [place.eq(0), core.eq(Mux(row_end, 0, core + 1))]
        self._merge_rows(m, to_row, core, place)
        self._merge_tables(m, to_table, half)
        return m

    def _merge_rows(self, m: Module, to_row, core, place) -> None:
        rows, played = self.rows.payload, self.words.payload
        m.d.comb += [
            self.rows.valid.eq(self.rows_in.valid | to_row),
            self.rows_in.ready.eq(self.rows.ready),
        ]
        with m.If(self.rows_in.valid):
            m.d.comb += rows.eq(self.rows_in.payload)
        with m.Else():
            m.d.comb += [
                rows.address.eq(self.row_address),
                rows.cores.eq(1 << core),
                rows.lanes.eq(Array(0xF << 4 * i for i in range(self.c.lanes // 4))[place]),
                *(rows.data[i].eq(played.word_select(i % 4, 8)) for i in range(len(rows.data))),
            ]

    def _merge_tables(self, m: Module, to_table, half) -> None:
        m.d.comb += self.tables.enable.eq(self.tables_in.enable | to_table)
        with m.If(self.tables_in.enable):
            for name in ("space", "address", "data"):
                m.d.comb += getattr(self.tables, name).eq(getattr(self.tables_in, name))
        with m.Else():
            m.d.comb += [
                self.tables.space.eq(Space.PARAMETER),
                self.tables.address.eq(Cat(half, self.parameter_address)),
                self.tables.data.eq(self.words.payload),
            ]
