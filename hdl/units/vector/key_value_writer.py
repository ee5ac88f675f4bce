"""Key/value store: codes become writes into row memory, where they wait as synapses."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.lib.shapes import POSITION_BITS, codes_layout, row_write_layout
from isa.configurations import Configuration

ROW_BITS = 20


class RowWriter(wiring.Component):
    """A stream of code words -> row writes. `start` sets the first row before the words come.

    key: V / G writes a word, G elements each (one a core), in neighbouring rows, all into lane
    position mod P. Otherwise (value): one write a word, into lane word `lane_word`, then the next
    one, of core position mod G; after the row's last lane word the row rises by row_stride and the
    lane word is 0. A word is taken with its last write; no latency.
    """

    def __init__(self, c: Configuration):
        self._c = c
        lane_words = c.lanes // c.vector_lanes
        super().__init__(
            {
                "start": In(1),
                "key": In(1),
                "row": In(ROW_BITS),
                "row_stride": In(16),
                "lane_word": In(range(max(2, lane_words))),
                "position": In(POSITION_BITS),
                "words": In(stream.Signature(codes_layout(c))),
                "row_write": Out(stream.Signature(row_write_layout(c))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        c = self._c
        chunks = c.vector_lanes // c.cores
        lane_words = c.lanes // c.vector_lanes
        row = Signal(ROW_BITS)
        # Decoded at the start: what comes in between are many wires.
        lanes, cores = Signal(c.lanes), Signal(c.cores)
        chunk = Signal(range(max(2, chunks)))
        write = self.row_write.payload
        codes = [self.words.payload[lane].as_unsigned() for lane in range(c.vector_lanes)]

        def low_bits(value, count: int):
            """value mod count, for a power of two; at least one bit."""
            return value[: count.bit_length() - 1] if count > 1 else Const(0, 1)

        m.d.comb += [
            self.row_write.valid.eq(self.words.valid),
            write.address.eq(row),
            write.spread.eq(self.key),
            write.lanes.eq(lanes),
            write.cores.eq(cores),
        ]
        written = self.words.valid & self.row_write.ready
        with m.If(self.key):
            keys = Array(Cat(codes[i : i + c.cores]) for i in range(0, c.vector_lanes, c.cores))
            m.d.comb += [
                write.data.as_value().eq(keys[chunk]),
                self.words.ready.eq(self.row_write.ready & (chunk == chunks - 1)),
            ]
        with m.Else():
            m.d.comb += [
                *(data.eq(codes[i % len(codes)]) for i, data in enumerate(write.data)),
                self.words.ready.eq(self.row_write.ready),
            ]
        with m.If(self.start):
            key_lane = 1 << low_bits(self.position, c.lanes)
            value_lanes = Cat(
                (self.lane_word == i).replicate(c.vector_lanes) for i in range(lane_words)
            )
            key_cores, value_core = (1 << c.cores) - 1, 1 << low_bits(self.position, c.cores)
            m.d.sync += [
                row.eq(self.row),
                chunk.eq(0),
                lanes.eq(Mux(self.key, key_lane, value_lanes)),
                cores.eq(Mux(self.key, key_cores, value_core)),
            ]
        with m.Elif(written):
            # That a write is taken comes late: it only enables what was made up before.
            with m.If(self.key | lanes[-1]):
                m.d.sync += row.eq(row + Mux(self.key, 1, self.row_stride))
            with m.If(self.key):
                m.d.sync += chunk.eq(0 if chunks == 1 else chunk + 1)
            with m.Else():
                m.d.sync += lanes.eq(lanes.rotate_left(c.vector_lanes))
        return m
