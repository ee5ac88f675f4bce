"""Reads the vector of a FIRE instruction, a word a cycle, once for every tile."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import stream
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import Component, In, Out

from hdl.lib import bit_groups
from hdl.lib.shapes import (
    POSITION_BITS,
    TOKEN_BITS,
    register_read,
)
from hdl.memory.rows import ROW_ADDRESS_BITS
from hdl.units.fire.group_assembler import read_layout
from isa.configurations import Configuration
from isa.formats import CODE, VECTOR
from isa.instructions import FIRE

COUNT_BITS = 18
LENGTH_BITS = VECTOR.bits.bit_length()


def open_tile_layout() -> StructLayout:
    """A tile that has begun: what POST will want to know of it."""
    return StructLayout(
        {
            "length": unsigned(LENGTH_BITS),  # of its vector's magnitude: see exponent_of
            "rows": unsigned(16),  # of the row ring; 0 when not streamed
            "norm": unsigned(1),
            "last": unsigned(1),  # the instruction's last tile
        }
    )


def exponent_of(length: Value) -> Value:
    """Golden's code_exponent, of a magnitude of that bit length. The length is found late in its
    cycle; what wants the exponent subtracts in the next one."""
    return (length - (CODE.bits - 1)).as_signed()


class TileReader(Component):
    """Executes FIRE instructions as far as the words that are read, as Fetch describes it.

    request, grant   of vector memory: `read` is the word at `address`, `mask` the elements of it
                     that belong to the vector. `read.valid` where a request is granted
    begins           it is the first of a group, which is begun only if there was `room` a cycle
                     ago; the words of a group follow without it

    Three states, a flip-flop each: idle (an instruction is taken), opening (a tile waits for its
    rows and to be taken), reading. Timing: grants come late in their cycle, so they load registers
    that were decided before; what a state may load in vain it loads in every cycle.
    """

    def __init__(self, c: Configuration) -> None:
        self.c = c
        super().__init__(
            {
                "instruction": In(stream.Signature(FIRE.layout())),
                "done": Out(1),
                "position": In(POSITION_BITS),
                "token": In(TOKEN_BITS),
                "magnitude": Out(register_read(8, bit_groups.grouped_layout(VECTOR.bits))),
                "ring_pointer": In(ROW_ADDRESS_BITS),
                "ring_available": In(ROW_ADDRESS_BITS),
                "ring_take": Out(1),
                "ring_take_rows": Out(16),
                "tiles": Out(stream.Signature(open_tile_layout())),
                "neurons": Out(COUNT_BITS),
                "busy": Out(1),
                "stream_stall": Out(1),
                "request": Out(1),
                "grant": In(1),
                "address": Out(16),
                "read": Out(read_layout(c)),
                "mask": Out(c.vector_lanes),
                "begins": Out(1),
                "room": In(1),
            }
        )
        self._idle = Signal(init=1, name="idle")
        self._opening, self._reading = Signal(name="opening"), Signal(name="reading")
        # Of the instruction under way:
        self._op = Signal(FIRE.layout(), name="op")
        self._count = Signal(COUNT_BITS, name="count")  # of its neurons
        self._magnitude = Signal(bit_groups.grouped_layout(VECTOR.bits), name="magnitude_groups")
        self._direct_lane = Signal(read_layout(c)["lane"].shape, name="direct_lane")
        # Of its present tile:
        self._outputs = Signal(COUNT_BITS, name="outputs")  # still to be gathered, these included
        self._first_tile, self._last_tile = Signal(name="first_tile"), Signal(name="last_tile")
        self._base = Signal(ROW_ADDRESS_BITS, name="base")  # rows of the next one
        self._length = Signal(LENGTH_BITS, name="length")  # of the magnitude
        self._opened_length = Signal(LENGTH_BITS, name="opened_length")  # the same, while opening
        self._enough = Signal(name="enough")  # rows have come, if it takes some from the ring
        # Of the word that is next:
        self._remaining = Signal(COUNT_BITS, name="remaining")  # elements, from it on
        self._row = Signal(ROW_ADDRESS_BITS, name="row")  # of its group
        self._index = Signal(read_layout(c)["index"].shape, name="index")  # in its group
        self._inside = Signal(name="inside")  # its group has begun
        self._ends = Signal(name="ends")  # it is the tile's last

    def elaborate(self, platform) -> Module:
        m = Module()
        reads, continues = Signal(), Signal()  # what _reading and _inside become
        m.d.comb += [reads.eq(self._reading), continues.eq(self._inside)]
        m.d.sync += [
            self._reading.eq(reads),
            self._inside.eq(continues),
            # Out of a register: vector memory's readers are far from each other.
            self.request.eq(reads & (continues | self.room)),
        ]
        # Where two load the same, the later state counts.
        self._read_word(m, reads, continues)
        self._open_tile(m, reads, continues)
        self._take_instruction(m)
        self._describe(m)
        return m

    def _read_word(self, m: Module, reads, continues) -> None:
        """A granted word: the next one, and after a tile's last one the next tile."""
        c, index, outputs = self.c, self._index, self._outputs
        issued, complete, ends = self.read.valid, self.read.complete, self._ends
        nearly_last = Signal()  # the tile after this one is the last, from this one's first word on
        m.d.sync += nearly_last.eq(outputs <= 2 * c.lanes)
        m.d.comb += [
            issued.eq(self.request & self.grant),
            complete.eq(ends | (index == c.neuron_lanes // c.vector_lanes - 1)),
            self.begins.eq(issued & ~self._inside),
        ]
        m.d.sync += self.done.eq(issued & ends & self._last_tile)
        with m.If(issued):
            m.d.comb += continues.eq(~complete)
            m.d.sync += [
                self._remaining.eq(self._remaining - c.vector_lanes),
                ends.eq(self._remaining <= 2 * c.vector_lanes),
                self.address.eq(self.address + 1),
                index.eq(index + 1),
            ]
            with m.If(complete):
                rows = c.neuron_lanes // c.cores
                m.d.sync += [self._row.eq(self._row + rows), index.eq(0)]
            with m.If(ends):
                m.d.comb += reads.eq(0)
                m.d.sync += [
                    outputs.eq(outputs - c.lanes),
                    self._last_tile.eq(nearly_last),
                    self._first_tile.eq(0),
                    self._opening.eq(~self._last_tile),
                    self._idle.eq(self._last_tile),
                ]

    def _open_tile(self, m: Module, reads, continues) -> None:
        """The tile is offered to POST's side when its rows are there; its words follow."""
        op, opening, enough = self._op, self._opening, self._enough
        presented = self.instruction.payload
        # Rows are compared a cycle before a tile can begin: after a take they are fewer only while
        # the tile is read.
        streams = Mux(self._idle, presented.stream, op.stream)
        stride = Mux(self._idle, presented.tile_stride, op.tile_stride)
        m.d.sync += enough.eq(~streams | (self.ring_available >= stride))
        m.d.comb += [
            self.stream_stall.eq(opening & ~enough),
            self.tiles.valid.eq(opening & enough),
            self.ring_take.eq(opening & enough & op.stream & self.tiles.ready),
            self.ring_take_rows.eq(op.tile_stride),
            # The register file's output has a cycle of its own. A single spike has exponent 0.
            self._opened_length.eq(
                Mux(op.one_hot, CODE.bits - 1,
                    bit_groups.bit_length(self._magnitude.found, self._magnitude.places))
            ),
            self.tiles.payload.length.eq(self._opened_length),
            self.tiles.payload.rows.eq(Mux(op.stream, op.tile_stride, 0)),
            self.tiles.payload.norm.eq(op.norm),
            self.tiles.payload.last.eq(self._last_tile),
        ]  # fmt: skip
        with m.If(opening):
            m.d.comb += continues.eq(0)
            m.d.sync += [
                self._length.eq(self._opened_length),
                self._row.eq(Mux(op.stream, self.ring_pointer, self._base)),
                self._remaining.eq(self._count),
                self._ends.eq(self._count <= self.c.vector_lanes),
                self.address.eq(op.source),
                self._index.eq(0),
            ]
            with m.If(enough & self.tiles.ready):
                m.d.comb += reads.eq(1)
                m.d.sync += [self._base.eq(self._base + op.tile_stride), opening.eq(0)]

    def _take_instruction(self, m: Module) -> None:
        c, presented = self.c, self.instruction.payload
        positions = Signal(range((1 << POSITION_BITS) + 1))  # up to this one
        m.d.sync += [positions.eq(self.position + 1), self.neurons.eq(0)]
        count = Mux(presented.dynamic_count, positions, presented.count)
        outputs = Mux(presented.dynamic_outputs, positions, presented.outputs)
        # A one-hot vector: the token's row alone, or the first of rows that come by the ring.
        neuron = Mux(presented.stream, 0, self.token)
        group = neuron >> (c.neuron_lanes - 1).bit_length()
        direct_rows = group << (c.neuron_lanes // c.cores - 1).bit_length()
        count = Mux(presented.one_hot, 1, count)
        m.d.comb += [
            self.instruction.ready.eq(self._idle),
            self.busy.eq(~self._idle),
            self.magnitude.address.eq(presented.magnitude),
        ]
        with m.If(self._idle):
            m.d.sync += [
                self._op.eq(presented),
                self._magnitude.eq(self.magnitude.data),
                self._count.eq(count),
                self._outputs.eq(outputs),
                self._last_tile.eq(outputs <= c.lanes),
                self._base.eq(presented.row_base + Mux(presented.one_hot, direct_rows, 0)),
                self._direct_lane.eq(neuron),
                self._first_tile.eq(1),
            ]
            with m.If(self.instruction.valid):
                m.d.sync += [self.neurons.eq(count), self._idle.eq(0), self._opening.eq(1)]

    def _describe(self, m: Module) -> None:
        """What goes along with a word, but for its valid and complete."""
        op, read = self._op, self.read
        m.d.comb += [
            self.mask.eq(
                Cat((self._remaining > lane) & ~op.one_hot for lane in range(self.c.vector_lanes))
            ),
            read.index.eq(self._index),
            read.lane.eq(self._direct_lane),
            read.direct.eq(op.one_hot),
            read.squares.eq(op.norm & self._first_tile),
            read.exponent.eq(exponent_of(self._length)),
            read.start.eq(op.first_step),
            read.place.row.eq(self._row),
            read.place.ring.eq(op.stream),
            read.place.end.eq(self._ends),
            read.place.first_tile.eq(self._first_tile),
            read.place.width.eq(Mux(self._last_tile, self._outputs, self.c.lanes)),
        ]
