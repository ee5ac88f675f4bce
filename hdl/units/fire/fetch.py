"""Vector fetch: executes FIRE instructions up to the groups of codes that the neuron core fires."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from hdl.lib import bit_groups
from hdl.lib.arithmetic import bit_length
from hdl.lib.pipeline import delayed
from hdl.lib.queues import QUEUE_WORDS
from hdl.lib.shapes import (
    POSITION_BITS,
    TOKEN_BITS,
    register_read,
    settings_layout,
    shared_read,
    word_layout,
)
from hdl.memory.rows import ROW_ADDRESS_BITS
from hdl.units.fire import encoder
from hdl.units.fire.encoder import Encoder
from hdl.units.fire.layouts import STEP_BITS, group_layout
from isa.configurations import Configuration
from isa.formats import CODE, VECTOR
from isa.instructions import FIRE

COUNT_BITS = 18
_GROUPS = QUEUE_WORDS  # in the queue or on their way to it
_CODES_LATENCY = 2 + encoder.LATENCY  # from a source address to its codes
_LENGTH_BITS = VECTOR.bits.bit_length()


def open_tile_layout() -> StructLayout:
    """A tile that has begun: what POST will want to know of it."""
    return StructLayout(
        {
            "length": unsigned(_LENGTH_BITS),  # of its vector's magnitude: see exponent_of
            "rows": unsigned(16),  # of the row ring; 0 when not streamed
            "norm": unsigned(1),
            "last": unsigned(1),  # the instruction's last tile
        }
    )


def exponent_of(length: Value) -> Value:
    """Golden's code_exponent, of a magnitude of that bit length. The length is found late in its
    cycle; what wants the exponent subtracts in the next one."""
    return (length - (CODE.bits - 1)).as_signed()


class Fetch(wiring.Component):
    """For every tile of every FIRE instruction: one item of `tiles`, then its groups of N codes.

    The vector is read and encoded anew for each tile, a word a cycle. `done` pulses in instruction
    order once nothing more is read from `source` or from the row ring. `neurons` is an
    instruction's neuron count for one cycle (1 for one_hot), else 0. stream_stall: a tile waits
    for rows. busy: an instruction is being executed. `position` is constant from the cycle before
    an instruction on. See hdl.units.fire.fire for the shared ports.
    """

    def __init__(self, c: Configuration) -> None:
        self.c = c
        super().__init__(
            {
                "instruction": In(stream.Signature(FIRE.layout())),
                "done": Out(1),
                "position": In(POSITION_BITS),
                "token": In(TOKEN_BITS),
                "settings": In(settings_layout()),
                "source": Out(shared_read(16, word_layout(c))),
                "magnitude": Out(register_read(8, bit_groups.grouped_layout(VECTOR.bits))),
                "ring_pointer": In(ROW_ADDRESS_BITS),
                "ring_available": In(ROW_ADDRESS_BITS),
                "ring_take": Out(1),
                "ring_take_rows": Out(16),
                "groups": Out(stream.Signature(group_layout(c))),
                "tiles": Out(stream.Signature(open_tile_layout())),
                "neurons": Out(COUNT_BITS),
                "busy": Out(1),
                "stream_stall": Out(1),
            }
        )

    def elaborate(self, platform):
        c = self.c
        m = Module()
        words = c.neuron_lanes // c.vector_lanes  # of a group
        rows = c.neuron_lanes // c.cores  # of a group, in every core
        group = group_layout(c)
        slot = StructLayout(  # a word on its way through memory and encoder
            {
                "valid": unsigned(1),
                "index": unsigned((words - 1).bit_length()),  # in its group
                "complete": unsigned(1),  # the group's last word
                "lane": unsigned((c.neuron_lanes - 1).bit_length()),  # of a direct spike
                **{n: group[n].shape for n in ("direct", "squares", "exponent", "start", "place")},
            }
        )

        idle, opening, reading = Signal(init=1), Signal(), Signal()
        op = Signal(FIRE.layout())
        magnitude = Signal(bit_groups.grouped_layout(VECTOR.bits))
        length = Signal(_LENGTH_BITS)  # of the magnitude
        begins = Signal(_LENGTH_BITS)  # the same, in OPEN already
        count = Signal(COUNT_BITS)
        outputs = Signal(COUNT_BITS)  # still to be gathered, this tile included
        base = Signal(ROW_ADDRESS_BITS)  # of the next tile
        first_tile = Signal()
        remaining = Signal(COUNT_BITS)  # elements of this tile still to be read
        address = Signal(16)
        index = Signal(slot["index"].shape)
        credits = Signal(range(_GROUPS + 1), init=_GROUPS)
        # What a word's grant decides on is known before it, as it comes late in its cycle; the
        # request comes out of a register, as vector memory's readers are far from each other.
        inside = Signal()  # a group has begun
        reads, continues, credit = Signal(), Signal(), Signal()  # next cycle's reading and inside
        enough = Signal()  # rows in the ring, for a tile that takes them
        ends, last_tile = Signal(), Signal()  # the next word is the tile's last; which is the last
        nearly = Signal()  # the tile after this one is the last, from this one's first word on

        presented = self.instruction.payload
        neuron = Mux(presented.stream, 0, self.token)
        direct_rows = (neuron >> (c.neuron_lanes - 1).bit_length()) << (rows - 1).bit_length()
        direct_lane = Signal(slot["lane"].shape)
        issue = Signal(slot)
        place = issue.place
        taken = Signal()  # a group left the queue
        begun = Signal()  # the first word of a group is read
        final = Signal()  # the instruction's last word is read
        row = Signal(ROW_ADDRESS_BITS)

        positions = Signal(range((1 << POSITION_BITS) + 1))  # up to this one
        neurons = Mux(presented.dynamic_count, positions, presented.count)
        wanted = Mux(presented.dynamic_outputs, positions, presented.outputs)
        m.d.comb += [
            self.instruction.ready.eq(idle),
            self.busy.eq(~idle),
            self.stream_stall.eq(opening & ~enough),
            self.tiles.valid.eq(opening & enough),
            self.ring_take.eq(opening & enough & op.stream & self.tiles.ready),
            self.magnitude.address.eq(presented.magnitude),
            self.source.address.eq(address),
            issue.valid.eq(self.source.request & self.source.grant),
            issue.complete.eq(ends | (index == words - 1)),
            place.end.eq(ends),
            begun.eq(issue.valid & ~inside),
            final.eq(issue.valid & ends & last_tile),
            self.ring_take_rows.eq(op.tile_stride),
            self.tiles.payload.length.eq(begins),
            self.tiles.payload.rows.eq(Mux(op.stream, op.tile_stride, 0)),
            self.tiles.payload.norm.eq(op.norm),
            self.tiles.payload.last.eq(last_tile),
            issue.index.eq(index),
            issue.lane.eq(direct_lane),
            issue.direct.eq(op.one_hot),
            issue.squares.eq(op.norm & first_tile),
            issue.exponent.eq(exponent_of(length)),
            issue.start.eq(op.first_step),
            place.row.eq(row),
            place.ring.eq(op.stream),
            place.first_tile.eq(first_tile),
            place.width.eq(Mux(last_tile, outputs, c.lanes)),
            # The register file's output has a cycle of its own.
            begins.eq(  # a single spike has the exponent 0
                Mux(op.one_hot, CODE.bits - 1,
                    bit_groups.bit_length(magnitude.found, magnitude.places))
            ),  # fmt: skip
        ]
        m.d.sync += [self.done.eq(final), self.neurons.eq(0), positions.eq(self.position + 1)]

        # Rows of the ring are compared a cycle before a tile can begin: after a take they are
        # fewer only while the tile is read.
        streams = Mux(idle, presented.stream, op.stream)
        stride = Mux(idle, presented.tile_stride, op.tile_stride)
        m.d.sync += enough.eq(~streams | (self.ring_available >= stride))

        # A state is a flip-flop. What a state may load in vain it loads in every cycle; where two
        # load the same, the flip-flop decides, not the grant, which comes late.
        m.d.sync += nearly.eq(outputs <= 2 * c.lanes)
        m.d.comb += [reads.eq(reading), continues.eq(inside)]
        with m.If(issue.valid):
            m.d.comb += continues.eq(~issue.complete)
            m.d.sync += [
                remaining.eq(remaining - c.vector_lanes),
                ends.eq(remaining <= 2 * c.vector_lanes),
                address.eq(address + 1),
                index.eq(index + 1),
            ]
            with m.If(issue.complete):
                m.d.sync += [row.eq(row + rows), index.eq(0)]
            with m.If(ends):
                m.d.comb += reads.eq(0)
                m.d.sync += [
                    outputs.eq(outputs - c.lanes),
                    last_tile.eq(nearly),
                    first_tile.eq(0),
                    opening.eq(~last_tile), idle.eq(last_tile),
                ]  # fmt: skip
        with m.If(opening):
            m.d.comb += continues.eq(0)
            m.d.sync += [
                length.eq(begins),
                row.eq(Mux(op.stream, self.ring_pointer, base)),
                remaining.eq(count),
                ends.eq(count <= c.vector_lanes),
                address.eq(op.source),
                index.eq(0),
            ]
            with m.If(enough & self.tiles.ready):
                m.d.comb += reads.eq(1)
                m.d.sync += [base.eq(base + op.tile_stride), opening.eq(0)]
        with m.If(idle):
            m.d.sync += [
                op.eq(presented),
                magnitude.eq(self.magnitude.data),
                count.eq(Mux(presented.one_hot, 1, neurons)),
                outputs.eq(wanted),
                last_tile.eq(wanted <= c.lanes),
                base.eq(presented.row_base + Mux(presented.one_hot, direct_rows, 0)),
                direct_lane.eq(neuron),
                first_tile.eq(1),
            ]
            with m.If(self.instruction.valid):
                m.d.sync += [
                    self.neurons.eq(Mux(presented.one_hot, 1, neurons)),
                    idle.eq(0), opening.eq(1),
                ]  # fmt: skip

        with m.If(begun != taken):
            m.d.sync += credits.eq(Mux(taken, credits + 1, credits - 1))
        m.d.comb += credit.eq(taken | (credits > 1) | ((credits == 1) & ~begun))
        m.d.sync += [
            reading.eq(reads),
            inside.eq(continues),
            self.source.request.eq(reads & (continues | credit)),
        ]
        mask = Cat((remaining > lane) & ~op.one_hot for lane in range(c.vector_lanes))
        self._assemble(m, slot, issue, mask, words, taken)
        return m

    def _assemble(self, m, slot: StructLayout, issue, mask, words: int, taken) -> None:
        """Follows every word through memory and encoder, and queues the groups they make."""
        c = self.c
        slots = [Signal(slot, name=f"slot_{k}") for k in range(_CODES_LATENCY)]
        for previous, following in zip([issue, *slots], slots, strict=False):
            m.d.sync += following.eq(previous)
        m.submodules.encoder = codes = Encoder(c)
        # The memory's output, a block RAM's, has a cycle of its own.
        m.d.comb += [
            codes.word.eq(delayed(m, self.source.data)),
            codes.mask.eq(delayed(m, mask, 2)),
            codes.exponent.eq(slots[1].exponent),
        ]

        arrived = slots[-1]
        group = Signal(group_layout(c))
        peak, found = Signal(CODE.bits - 1), Signal(CODE.bits - 1)  # OR over the group's |code|
        size = Signal(range(CODE.bits))  # bits of it
        group_valid = Signal()
        m.d.sync += group_valid.eq(arrived.valid & arrived.complete)
        m.d.comb += found.eq(codes.peak | Mux(arrived.index == 0, 0, peak))
        with m.If(arrived.valid):
            m.d.sync += [
                group.direct.eq(arrived.direct),
                group.squares.eq(arrived.squares),
                group.exponent.eq(arrived.exponent),
                group.place.eq(arrived.place),
                peak.eq(found),
                size.eq(Mux(arrived.direct, 1, bit_length(found))),
            ]
        # The group's first word clears what the others fill. Which codes a word is for is known
        # before it has passed the encoder.
        for word in range(words):
            here, loads = Signal(name=f"here_{word}"), Signal(name=f"loads_{word}")
            coming = slots[-2]
            clears = coming.direct | (coming.index == 0)
            m.d.sync += [
                here.eq(coming.index == word),
                loads.eq(coming.valid & (clears | (coming.index == word))),
            ]
            with m.If(loads):
                for element in range(c.vector_lanes):
                    lane = word * c.vector_lanes + element
                    code = Mux(here, codes.codes[element], 0)
                    spike = Mux(arrived.lane == lane, Const(1, signed(2)), 0)
                    m.d.sync += group.codes[lane].eq(Mux(arrived.direct, spike, code))

        # Where the group begins in its schedule is found here, on the way into the queue: behind
        # the queue the neuron core addresses the schedule memory in the same cycle, so the queue
        # gives its words out of a register. There is one for every size, as the group's own is
        # known late.
        starts = Array(Signal(STEP_BITS, name=f"start_{bits}") for bits in range(CODE.bits))
        for bits, start in enumerate(starts):
            m.d.sync += start.eq(arrived.start + getattr(self.settings, f"start_{bits}"))
        placed = Signal(group_layout(c))
        m.d.comb += [
            placed.eq(group),
            placed.start.eq(starts[size]),
            placed.silent.eq(self.settings.skip_silent & (size == 0)),
        ]
        width = group_layout(c).size
        m.submodules.queue = queue = SyncFIFOBuffered(width=width, depth=_GROUPS)
        m.d.comb += [
            queue.w_data.eq(placed),
            queue.w_en.eq(group_valid),
            self.groups.payload.eq(queue.r_data),
            self.groups.valid.eq(queue.r_rdy),
            queue.r_en.eq(self.groups.ready),
            taken.eq(queue.r_rdy & queue.r_en),
        ]
