"""Row memory: every synapse core's rows of P weights, keys or values."""

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hdl.lib.shapes import row_write_layout
from isa.configurations import Configuration
from isa.contents import EMPTY, Contents

ROW_ADDRESS_BITS = 20
WEIGHT_BITS = 8
READ_LATENCY = 2
READBACK_LATENCY = 3
ECP5_BANK_ROWS = 512  # of 36 bits: the block RAM geometry with a write enable for each weight
MAXIMUM_BANKS = 8


class RowMemory(wiring.Component):
    """G memories of row_depth rows of P bytes, lane 0 in the lowest byte.

    address[g], enable[g] -> data[g] READ_LATENCY = 2 cycles later (memory, then output register);
    without enable data keeps its value. row_write is taken in every cycle and can be read from the
    second cycle after; reading a row in the cycle in which it is written gives undefined data. A
    write beyond the memory is dropped.

    While readback_enable is set it owns every core's port (nobody else may read then):
    readback_address, readback_core -> readback_data READBACK_LATENCY = 3 cycles later.

    bank_rows, a power of two, cuts the rows into banks, with the same behaviour. None chooses:
    ECP5_BANK_ROWS up to MAXIMUM_BANKS of them, else one array (a size for simulation only).
    """

    def __init__(self, c: Configuration, bank_rows: int | None = None,
                 contents: Contents = EMPTY) -> None:
        self.c, self._contents = c, contents
        fits = c.row_depth <= MAXIMUM_BANKS * ECP5_BANK_ROWS
        self.bank_rows = bank_rows or (ECP5_BANK_ROWS if fits else c.row_depth)
        if self.bank_rows < c.row_depth and self.bank_rows & (self.bank_rows - 1):
            raise ValueError(f"bank_rows = {bank_rows} is not a power of two")
        row = unsigned(c.lanes * WEIGHT_BITS)
        super().__init__(
            {
                "address": In(ROW_ADDRESS_BITS).array(c.cores),
                "enable": In(1).array(c.cores),
                "data": Out(row).array(c.cores),
                "row_write": In(stream.Signature(row_write_layout(c), always_ready=True)),
                "readback_enable": In(1),
                "readback_address": In(ROW_ADDRESS_BITS),
                "readback_core": In(range(c.cores)),
                "readback_data": Out(row),
            }
        )

    def elaborate(self, platform):
        c = self.c
        m = Module()
        bank_rows = self.bank_rows
        banks = -(-c.row_depth // bank_rows)
        banked = banks > 1
        offset_bits = (bank_rows - 1).bit_length()

        write = Signal(row_write_layout(c))
        write_valid = Signal()
        m.d.sync += write_valid.eq(self.row_write.valid)
        with m.If(self.row_write.valid):
            m.d.sync += write.eq(self.row_write.payload)
        in_range = write.address < c.row_depth
        by_lane = Cat(write.data[lane % c.vector_lanes] for lane in range(c.lanes))

        owned = Signal(2)
        owner = Signal(range(c.cores))
        owner_next = Signal.like(owner)
        m.d.sync += [owner.eq(self.readback_core), owner_next.eq(owner)]
        m.d.sync += owned.eq(Cat(self.readback_enable, owned))

        for core in range(c.cores):
            by_core = Cat(write.data[core] for _ in range(c.lanes))
            data = Signal(c.lanes * WEIGHT_BITS, name=f"write_data_{core}")
            m.d.comb += data.eq(Mux(write.spread, by_core, by_lane))
            address = Signal(ROW_ADDRESS_BITS, name=f"address_{core}")
            enable = Signal(name=f"enable_{core}")
            m.d.comb += [
                address.eq(Mux(self.readback_enable, self.readback_address, self.address[core])),
                enable.eq(self.readback_enable | self.enable[core]),
            ]
            read = Signal(name=f"read_{core}")
            bank_read = Signal(range(banks), name=f"bank_read_{core}")
            m.d.sync += read.eq(enable)
            m.d.sync += bank_read.eq(address >> offset_bits)
            initial = self._contents.rows(core, c.cores)
            for bank in range(banks):
                first = bank * bank_rows
                memory = Memory(
                    shape=unsigned(c.lanes * WEIGHT_BITS),
                    depth=min(bank_rows, c.row_depth - first),
                    init=initial[first : first + bank_rows],
                )
                m.submodules[f"core_{core}_bank_{bank}"] = memory
                write_port = memory.write_port(granularity=WEIGHT_BITS)
                read_port = memory.read_port(transparent_for=())
                write_here = write.cores[core] & write_valid & in_range
                if banked:
                    write_here &= write.address >> offset_bits == bank
                m.d.comb += [
                    write_port.addr.eq(write.address),
                    write_port.data.eq(data),
                    write_port.en.eq(Mux(write_here, write.lanes, 0)),
                    read_port.addr.eq(address),
                    read_port.en.eq(enable & ((address >> offset_bits == bank) if banked else 1)),
                ]
                with m.If(read & (bank_read == bank)):
                    m.d.sync += self.data[core].eq(read_port.data)
        with m.If(owned[1]), m.Switch(owner_next):
            for core in range(c.cores):
                with m.Case(core):
                    m.d.sync += self.readback_data.eq(self.data[core])
        return m
