"""Read-back: one link word out of row, vector or external memory or the register block."""

from amaranth.hdl import Array, Module, Signal, unsigned
from amaranth.lib.wiring import Component, In, Out

from hdl.lib.shapes import read_port, word_layout
from hdl.memory.rows import ROW_ADDRESS_BITS, WEIGHT_BITS
from isa.configurations import Configuration
from isa.packets import Space


class ReadBack(Component):
    """Turns the address of a link word into that of a memory, and picks the word out of what comes.

    A word comes as late as from its memory itself, one of the register block or of vector memory a
    cycle later; `space` and `port.address` must have been stable for a cycle before it comes. A
    vector element is sign-extended. Beyond the end of a memory there are zeros.
    """

    def __init__(self, c: Configuration) -> None:
        self.c = c
        super().__init__(
            {
                "space": In(8),
                "port": In(read_port(32, unsigned(32))),
                "row_address": Out(ROW_ADDRESS_BITS),
                "row_core": Out(range(c.cores)),
                "row_data": In(unsigned(c.lanes * WEIGHT_BITS)),
                "vector": Out(read_port(16, word_layout(c))),
                "register_address": Out(8),
                "register_data": In(32),
                "external_data": In(32),
            }
        )

    def elaborate(self, platform):
        m = Module()
        c = self.c
        address = self.port.address
        row_bits, core_bits = (c.lanes // 4).bit_length() - 1, c.cores.bit_length() - 1
        lane_bits = c.vector_lanes.bit_length() - 1
        m.d.comb += [
            self.row_core.eq(address[row_bits : row_bits + core_bits]),
            self.row_address.eq(address[row_bits + core_bits :]),
            self.vector.address.eq(address[lane_bits:]),
        ]
        register_address = Signal.like(self.register_address, reset_less=True)
        m.d.sync += register_address.eq(address)  # the registers lie elsewhere, and there is time
        m.d.comb += self.register_address.eq(register_address)
        # Which memory it is, is decided before the word comes: `space` and the address are stable.
        reaches = {
            Space.ROW: c.row_depth << (row_bits + core_bits),
            Space.VECTOR: c.vector_depth << lane_bits,
            Space.REGISTER: 1 << len(self.register_address),
        }
        at = {space: Signal(name=f"at_{space.name}", reset_less=True) for space in reaches}
        for space, reach in reaches.items():
            m.d.sync += at[space].eq((self.space == space) & (address < reach))
        kept = Signal.like(self.vector.data, reset_less=True)  # a block RAM's output comes late
        m.d.sync += kept.eq(self.vector.data)
        lanes = Array(kept[i] for i in range(c.vector_lanes))
        with m.If(at[Space.ROW]):
            m.d.comb += self.port.data.eq(self.row_data.word_select(address[:row_bits], 32))
        with m.Elif(at[Space.VECTOR]):
            m.d.comb += self.port.data.eq(lanes[address[:lane_bits]])
        with m.Elif(at[Space.REGISTER]):
            m.d.comb += self.port.data.eq(self.register_data)
        with m.Elif(self.space == Space.EXTERNAL):
            m.d.comb += self.port.data.eq(self.external_data)
        return m
