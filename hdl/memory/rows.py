"""Row memory: every synapse core's rows of P weights, keys or values."""

from functools import reduce
from itertools import groupby
from operator import or_

from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hdl.lib.copies import copy_of
from hdl.lib.ecp5 import either
from hdl.lib.shapes import LINK_WEIGHTS, row_write_layout
from isa.configurations import Configuration
from isa.contents import EMPTY, Contents

ROW_ADDRESS_BITS = 20
WEIGHT_BITS = 8
READ_LATENCY = 3
PART_LANES = 32  # columns whose blocks share registers for addresses and written data
ECP5_BANK_ROWS = 1024  # of 18 bits: two weights; what remains below 512 rows goes by 36 bits
MAXIMUM_BANKS = 4
CHUNK_LANES = LINK_WEIGHTS  # of a word of read-back
_COPY_COLUMNS = 4  # that share a copy of the register that chooses their bank
_INPUTS = 4  # of a look-up table: bytes joined in a step of read-back, one of them the step before


def columns(c: Configuration) -> list[int]:
    """The lane of every column of a row, from one end of a core's row of blocks to the other.

    An element of the words that leave a core has all its lanes next to each other: those among
    which a cycle chooses. In the order of lanes they would lie V apart, and their wires be V times
    as long.
    """
    v = c.vector_lanes
    return [lane for element in range(v) for lane in range(element, c.lanes, v)]


def readback_latency(c: Configuration) -> int:
    """Cycles from a steady readback_address to readback_data."""
    more = max(0, c.lanes // CHUNK_LANES - _INPUTS)
    return 6 + -(-more // (_INPUTS - 1))


class RowMemory(wiring.Component):
    """G memories of row_depth rows of P bytes, lane 0 in the lowest byte.

    address[g], enable[g] -> data[g] READ_LATENCY = 3 cycles later (a register near the blocks,
    memory, output register); without enable data is 0. Address bits beyond row_depth are ignored.
    row_write is taken in every cycle and can be read from the second cycle after; reading a row in
    the cycle after it was taken gives undefined data. A write beyond the memory is dropped.

    While readback_enable is set, read-back owns every core's port (nobody else may read then):
    readback_data is link word readback_word (CHUNK_LANES weights) of row readback_address of core
    readback_core, once these have been steady for readback_latency cycles.

    bank_rows, a power of two, cuts the rows into banks; it changes no behaviour, only how the
    memory falls into block RAMs. None chooses: ECP5_BANK_ROWS up to MAXIMUM_BANKS of them, else one
    array (for simulation only).

    The blocks take most of a chip, so their wires are long. Every part of PART_LANES columns of
    every core therefore has registers of its own before its blocks, and no multiplexer stands
    behind them: an output register is 0 unless its banks were read, and all are joined by OR.
    Read-back reads one link word of one core, whose words are joined from one end of its row of
    blocks to the other, register by register: it has the time, and each wire goes to a neighbour.
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
                "readback_word": In(range(c.lanes // CHUNK_LANES)),
                "readback_data": Out(unsigned(CHUNK_LANES * WEIGHT_BITS)),
            }
        )

    def elaborate(self, platform):
        c = self.c
        m = Module()
        bank_rows = self.bank_rows
        banks = -(-c.row_depth // bank_rows)
        offset_bits = (bank_rows - 1).bit_length()

        write = Signal(row_write_layout(c), reset_less=True)
        presented = self.row_write.payload
        in_range = self.row_write.valid & (presented.address < c.row_depth)
        with m.If(self.row_write.valid):
            m.d.sync += write.eq(presented)
        address_bits = (c.row_depth - 1).bit_length()

        # Read-back is rare: its address and its choice of a word wait in registers, so that reading
        # rows does not wait for them.
        readback_address = Signal(address_bits)
        m.d.sync += readback_address.eq(self.readback_address)
        chunks = [Signal(name=f"chunk_{k}") for k in range(c.lanes // CHUNK_LANES)]
        for k, chunk in enumerate(chunks):
            m.d.sync += chunk.eq(~self.readback_enable | (self.readback_word == k))

        words = []  # of read-back, one a core
        for core in range(c.cores):
            by_core = write.data[core].replicate(len(write.data))
            word = Signal(len(by_core), name=f"write_word_{core}")
            address = Signal(address_bits, name=f"address_{core}")
            enable = Signal(name=f"enable_{core}")
            owned = Signal(name=f"owned_{core}", attrs={"keep": 1})
            wanted = Signal(name=f"wanted_{core}")
            m.d.sync += [owned.eq(self.readback_enable), wanted.eq(self.readback_core == core)]
            m.d.comb += [
                word.eq(Mux(write.spread, by_core, write.data.as_value())),
                address.eq(Mux(owned, readback_address, self.address[core])),
                enable.eq(Mux(owned, wanted, self.enable[core])),
            ]
            written = []  # for each bank; decided while what is written comes into its register
            for bank in range(banks):
                here = Signal(name=f"write_{core}_{bank}")
                in_bank = presented.address >> offset_bits == bank if banks > 1 else 1
                m.d.sync += here.eq(in_range & presented.cores[core] & in_bank)
                written.append(here)
            order = columns(c)
            by_lane = {}
            for first in range(0, c.lanes, PART_LANES):
                lanes = order[first : first + PART_LANES]
                part = self._part(m, platform, core, first // PART_LANES, lanes, write, word,
                                  written, address, enable, chunks)
                by_lane |= {lane: part.word_select(k, WEIGHT_BITS) for k, lane in enumerate(lanes)}
            m.d.comb += self.data[core].eq(Cat(by_lane[lane] for lane in range(c.lanes)))
            words.append(self._joined_row(m, core))
        m.d.sync += self.readback_data.eq(_joined(words))
        return m

    def _joined_row(self, m: Module, core: int) -> Value:
        """All link words of a core's row, joined byte by byte along the row."""
        word = []
        for byte in range(CHUNK_LANES):
            lanes = [lane for lane in columns(self.c) if lane % CHUNK_LANES == byte]
            ahead = [self.data[core].word_select(lane, WEIGHT_BITS) for lane in lanes]
            joined, taken = [], _INPUTS
            while ahead:
                step = Signal(WEIGHT_BITS, name=f"word_{core}_{byte}_{len(ahead)}",
                              reset_less=True)  # fmt: skip
                m.d.sync += step.eq(_joined([*joined, *ahead[:taken]]))
                ahead, joined, taken = ahead[taken:], [step], _INPUTS - 1
            word += joined
        return Cat(word)

    def _part(self, m: Module, platform, core: int, part: int, lanes: list[int], write, word,
              written: list, address, enable, chunks: list[Signal]) -> Value:  # fmt: skip
        """The banks of some columns of a core, behind registers of their own; what they read.
        lanes: of the columns."""
        c, bank_rows = self.c, self.bank_rows
        offset_bits = (bank_rows - 1).bit_length()
        name = f"{core}_{part}"
        at, write_at = (copy_of(m, a, f"{kind}_{name}") for a, kind in
                        ((address, "read_at"), (write.address, "write_at")))
        given = [lane % len(write.data) for lane in lanes]  # the byte of the word for each column
        bytes_ = {byte: copy_of(m, word.word_select(byte, WEIGHT_BITS), f"write_data_{byte}_{name}")
                  for byte in sorted(set(given))}
        enabled = copy_of(m, Cat(write.lanes[lane] for lane in lanes), f"write_lanes_{name}")
        reads = copy_of(m, enable, f"reads_{name}")
        numbers = sorted({lane // CHUNK_LANES for lane in lanes})
        own = {k: copy_of(m, chunks[k], f"chunk_{k}_{name}") for k in numbers}
        by_column = [own[lane // CHUNK_LANES] for lane in lanes]
        initial = self._contents.rows(core, c.cores)
        bits = len(lanes) * WEIGHT_BITS
        outputs = []
        for bank, here in enumerate(written):
            first = bank * bank_rows
            memory = Memory(
                shape=unsigned(bits),
                depth=min(bank_rows, c.row_depth - first),
                init=[_picked(row, c, lanes) for row in initial[first : first + bank_rows]],
            )
            m.submodules[f"core_{core}_bank_{bank}_part_{part}"] = memory
            write_port = memory.write_port(granularity=WEIGHT_BITS)
            read_port = memory.read_port(transparent_for=())
            writes = copy_of(m, here, f"writes_{bank}_{name}")
            read_here = reads
            if len(written) > 1:
                read_here = reads & (at >> offset_bits == bank)
            m.d.comb += [
                write_port.addr.eq(write_at),
                write_port.data.eq(Cat(bytes_[byte] for byte in given)),
                write_port.en.eq(Mux(writes, enabled, 0)),
                read_port.addr.eq(at),
                read_port.en.eq(reads),
            ]
            outputs.append((read_port.data, read_here))
        # Both the core and read-back take this: synthesis is kept from making the OR twice.
        return either(m, platform, [
            self._output(m, f"{pair}_{name}", outputs[pair : pair + 2], by_column)
            for pair in range(0, len(outputs), 2)
        ])  # fmt: skip

    def _output(self, m: Module, name: str, banks: list[tuple[Value, Value]],
                chunks: list[Signal]) -> Signal:  # fmt: skip
        """The output register of two banks, or one, each with its data and whether it is read:
        those columns that were read a cycle ago, else 0. chunks: what silences each column."""
        data, reads = zip(*banks, strict=True)
        kept = Signal(len(data[0]), name=f"kept_{name}", reset_less=True)  # `silent` clears it
        words = []
        for first in range(0, len(chunks), _COPY_COLUMNS):
            last = copy_of(m, reads[-1], f"last_{name}_{first}") if len(banks) > 1 else 1
            some = slice(first * WEIGHT_BITS, (first + _COPY_COLUMNS) * WEIGHT_BITS)
            words.append(Mux(last, data[-1][some], data[0][some]))
        word = Signal(len(kept), name=f"read_{name}")
        m.d.comb += word.eq(Cat(words))
        for _, run in groupby(range(len(chunks)), key=lambda column: id(chunks[column])):
            first, *others = run
            silent = copy_of(m, ~(reduce(or_, reads) & chunks[first]), f"silent_{name}_{first}")
            some = slice(first * WEIGHT_BITS, (first + 1 + len(others)) * WEIGHT_BITS)
            with m.If(silent):
                m.d.sync += kept[some].eq(0)
            with m.Else():
                m.d.sync += kept[some].eq(word[some])
        return kept


def _joined(words):
    return reduce(or_, words)


def _picked(row: int, c: Configuration, lanes: list[int]) -> int:
    """The weights of some lanes of a row, side by side."""
    weights = row.to_bytes(c.lanes, "little")
    return int.from_bytes(bytes(weights[lane] for lane in lanes), "little")
