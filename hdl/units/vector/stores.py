"""The key/value store: codes become rows, and each head's exponent is written beside them."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.lib.shapes import POSITION_BITS, codes_layout, row_write_layout
from hdl.units.vector.head_exponents import HeadExponents, exponent_write
from hdl.units.vector.key_value_writer import ROW_BITS, RowWriter
from hdl.units.vector.modulator import LENGTH_BITS
from isa.configurations import Configuration
from isa.formats import EXPONENT
from isa.instructions import VECTOR as INSTRUCTION


class KeyValueStore(wiring.Component):
    """Writes one position's keys (`key`) or values.

    `start` comes with the `instruction`, before its first word of `words`. position, key_row_offset
    (rows from row_base to this position's keys), `stride` (exponent words from head to head) and
    `key` stand while it is under way. `head` says that `length`, the bit length of a head's
    magnitude, is there: `exponent` is the head's, in the same cycle. `alignment` is that of the
    instruction's alignment register, two cycles after `start`.
    """

    def __init__(self, c: Configuration):
        self._c = c
        super().__init__(
            {
                "start": In(1),
                "instruction": In(INSTRUCTION.layout()),
                "key": In(1),
                "position": In(POSITION_BITS),
                "key_row_offset": In(ROW_BITS),
                "stride": In(16),
                "head": In(1),
                "length": In(LENGTH_BITS),
                "words": In(stream.Signature(codes_layout(c))),
                "exponent": Out(signed(EXPONENT.bits)),
                "alignment": Out(signed(EXPONENT.bits)),
                "row_write": Out(stream.Signature(row_write_layout(c))),
                "key_write": Out(exponent_write(c)),
                "value_write": Out(exponent_write(c)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.rows = rows = RowWriter(self._c)
        m.submodules.heads = heads = HeadExponents(self._c)
        value_row = self.position >> (self._c.cores.bit_length() - 1)
        row_stride = Signal(16)
        with m.If(self.start):
            m.d.sync += row_stride.eq(self.instruction.row_stride)
        m.d.comb += [
            rows.start.eq(self.start),
            rows.key.eq(self.key),
            rows.row.eq(
                self.instruction.row_base + Mux(self.key, self.key_row_offset, value_row)
            ),
            rows.row_stride.eq(row_stride),
            rows.lane_word.eq(self.instruction.operand),
            rows.position.eq(self.position),
            heads.start.eq(self.start),
            heads.address.eq(self.instruction.exponent_address),
            heads.register.eq(self.instruction.alignment),
            heads.stride.eq(self.stride),
            heads.position.eq(self.position),
            heads.head.eq(self.head),
            heads.key.eq(self.key),
            heads.length.eq(self.length),
            self.exponent.eq(heads.exponent),
            self.alignment.eq(heads.alignment),
        ]
        for inner, outer in (
            (wiring.flipped(self.words), rows.words),
            (rows.row_write, wiring.flipped(self.row_write)),
            (heads.key_write, wiring.flipped(self.key_write)),
            (heads.value_write, wiring.flipped(self.value_write)),
        ):
            wiring.connect(m, inner, outer)
        return m
