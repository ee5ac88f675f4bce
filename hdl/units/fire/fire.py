"""Fire: executes FIRE instructions, from a vector in memory to gathered tiles of sums."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out, connect

from hdl.lib.arithmetic import digits_layout, modulate_digits, recode
from hdl.lib.bit_groups import grouped_layout
from hdl.lib.copies import copy_of
from hdl.lib.ecp5 import carry_sum
from hdl.lib.pipeline import delayed
from hdl.lib.ports import pass_ports
from hdl.lib.shapes import (
    POSITION_BITS,
    TOKEN_BITS,
    register_read,
    row_write_layout,
    settings_layout,
    shared_read,
    sums_layout,
    table_write,
    tile_layout,
    word_layout,
)
from hdl.memory.rows import CHUNK_LANES, ROW_ADDRESS_BITS, WEIGHT_BITS, RowMemory
from hdl.units.fire.fetch import Fetch
from hdl.units.fire.neuron import NeuronCore
from hdl.units.fire.norm import Norm
from hdl.units.fire.router import Router
from hdl.units.fire.synapse import WORD_LATENCY, SynapseCore
from hdl.units.fire.tile_reader import COUNT_BITS, exponent_of, open_tile_layout
from isa.configurations import Configuration
from isa.contents import EMPTY, Contents
from isa.formats import EXPONENT, VECTOR
from isa.instructions import FIRE

_OPEN_TILES = 8
SUMS_LATENCY = WORD_LATENCY + 2
"""Cycles from read_word to the sums: the cores' words, carries saved, and their sum."""


def fire_counters_layout(c: Configuration) -> StructLayout:
    """Increments of this cycle for the counters in isa.registers that FIRE drives."""
    lanes = c.neuron_lanes
    return StructLayout(
        {
            "neurons": unsigned(COUNT_BITS),
            "spikes": unsigned(lanes.bit_length()),
            "events": unsigned(lanes.bit_length()),
            "synaptic_operations": unsigned((lanes * c.lanes).bit_length()),
            "gather_active": unsigned(1),
            "stream_stall": unsigned(1),
            "router_stall": unsigned(1),
        }
    )


class Fire(wiring.Component):
    """Encodes, fires and gathers; holds the row memory.

    instruction: waits are satisfied already. done: pulses in instruction order when the source has
    been read for the last time; later writes to it change nothing. Its events may still be
    on their way then: rows they read must not be written before the tile has come.

    source, magnitude: vector memory (shared; one cycle) and magnitude registers (same cycle).
    position, token, settings: constant while instructions are executed.
    tables: spaces SCHEDULE and RSQRT. ring_take takes ring_take_rows rows at ring_pointer; pointer
    and available follow one cycle later. row_write, readback_*: see hdl.memory.rows; readback while
    nothing is executed only.

    tiles: valid while every core's shadow registers hold the tile, and its norm is known. While it
    is valid, read_word -> sums (joined over the cores) SUMS_LATENCY cycles later. A read in
    the cycle of the transfer is still of that tile.

    counters: increments. Events and synaptic operations are counted when the neurons fire.

    bank_rows: see hdl.memory.rows.RowMemory.
    """

    def __init__(self, c: Configuration, bank_rows: int | None = None,
                 contents: Contents = EMPTY) -> None:
        self.c, self._contents = c, contents
        self.bank_rows = bank_rows
        super().__init__(
            {
                "instruction": In(stream.Signature(FIRE.layout())),
                "done": Out(1),
                "position": In(POSITION_BITS),
                "token": In(TOKEN_BITS),
                "settings": In(settings_layout()),
                "source": Out(shared_read(16, word_layout(c))),
                "magnitude": Out(register_read(8, grouped_layout(VECTOR.bits))),
                "tables": In(table_write()),
                "row_write": In(stream.Signature(row_write_layout(c), always_ready=True)),
                "readback_enable": In(1),
                "readback_address": In(ROW_ADDRESS_BITS),
                "readback_core": In(range(c.cores)),
                "readback_word": In(range(c.lanes // CHUNK_LANES)),
                "readback_data": Out(unsigned(CHUNK_LANES * WEIGHT_BITS)),
                "ring_pointer": In(ROW_ADDRESS_BITS),
                "ring_available": In(ROW_ADDRESS_BITS),
                "ring_take": Out(1),
                "ring_take_rows": Out(16),
                "tiles": Out(stream.Signature(tile_layout())),
                "read_word": In(range(c.lanes // c.vector_lanes)),
                "sums": Out(sums_layout(c)),
                "counters": Out(fire_counters_layout(c)),
            }
        )

    def elaborate(self, platform):
        c = self.c
        m = Module()
        m.submodules.fetch = fetch = Fetch(c)
        m.submodules.neurons = neurons = NeuronCore(c, self._contents)
        m.submodules.router = router = Router(c)
        m.submodules.norm = norm = Norm(self._contents, c.spare_blocks)
        m.submodules.rows = rows = RowMemory(c, self.bank_rows, self._contents)
        cores = [SynapseCore(c) for _ in range(c.cores)]

        pass_ports(m, fetch, self, [
            "instruction", "source", "magnitude", "position", "token", "settings", "done",
            "ring_pointer", "ring_available", "ring_take", "ring_take_rows",
        ])  # fmt: skip
        pass_ports(m, rows, self, [
            "row_write", "readback_enable", "readback_address", "readback_core", "readback_word",
            "readback_data",
        ])  # fmt: skip
        pass_ports(m, neurons, self, ["settings", "tables"])
        pass_ports(m, norm, self, ["settings", "tables"])
        pass_ports(m, router, self, ["settings"])
        connect(m, fetch.groups, neurons.groups)
        connect(m, neurons.steps, router.steps)
        connect(m, neurons.squares, norm.squares)
        for k, core in enumerate(cores):
            m.submodules[f"core_{k}"] = core
            connect(m, router.events[k], core.events)
            m.d.comb += [
                rows.address[k].eq(core.row_address),
                rows.enable[k].eq(core.row_enable),
                core.row_data.eq(rows.data[k]),
                core.read_word.eq(self.read_word),
                core.free.eq(self.tiles.valid & self.tiles.ready),
            ]
        # Every core holds the tile, in this cycle and in the next. After a transfer none does: what
        # a core gathers next waits for that.
        gathered, gathers = Signal(), Signal()
        m.d.comb += gathers.eq(
            Cat(core.holds for core in cores).all() & ~(self.tiles.valid & self.tiles.ready)
        )
        m.d.sync += gathered.eq(gathers)

        self._join(m, platform, cores)
        level = self._hand_over(m, fetch, norm, gathers)
        self._count(m, fetch, neurons)
        m.d.comb += self.counters.gather_active.eq(
            fetch.busy | (level > 1) | ((level == 1) & ~gathered)
        )
        return m

    def _join(self, m: Module, platform, cores: list[SynapseCore]) -> None:
        """sums = the cores' words and their corrections, added up: carries are saved to the end.

        Corrections stand from a tile's first cycle on, words come WORD_LATENCY cycles later: there
        is time to add up the former, into a copy for each lane.
        """
        bits = self.c.accumulator_bits
        corrections = [core.correction for core in cores]
        pairs = [delayed(m, sum(corrections[k : k + 2]), shape=bits)
                 for k in range(0, len(cores), 2)]  # fmt: skip
        correction = delayed(m, sum(pairs), shape=bits)
        for lane in range(self.c.vector_lanes):
            saved = _save_carries([Value.cast(core.word[lane]) for core in cores])
            own = copy_of(m, correction, f"correction_{lane}")
            words = [*(delayed(m, word) for word in saved), own]
            m.d.sync += self.sums[lane].eq(_total(m, platform, words).as_signed())

    def _hand_over(self, m: Module, fetch: Fetch, norm: Norm, gathers) -> Signal:
        """Tiles in order, each with its exponent and norm. Returns the number of open tiles.

        `gathers`: all cores have the tile in the next cycle; not the one after a transfer.
        """
        layout = open_tile_layout()
        shape = StructLayout({"exponent": signed(EXPONENT.bits), "tile": layout})
        m.submodules.open_tiles = queue = SyncFIFOBuffered(width=shape.size, depth=_OPEN_TILES)
        entry, kept = Signal(shape), Signal(shape)
        head = kept.tile
        transfer = self.tiles.valid & self.tiles.ready
        # A tile waits a cycle in a register on its way into the queue, which has room for it, too:
        # its length is found late in the cycle in which it is offered.
        opened, opens = Signal(layout, reset_less=True), Signal()
        m.d.sync += opened.eq(fetch.tiles.payload)
        m.d.sync += opens.eq(fetch.tiles.valid & fetch.tiles.ready)
        m.d.comb += [
            entry.exponent.eq(exponent_of(opened.length)),
            entry.tile.eq(opened),
            queue.w_data.eq(entry),
            queue.w_en.eq(opens),
            fetch.tiles.ready.eq(queue.level < _OPEN_TILES - 1),
            kept.eq(queue.r_data),
            queue.r_en.eq(transfer),
            self.tiles.payload.exponent.eq(kept.exponent),
            self.tiles.payload.rows.eq(head.rows),
            self.tiles.payload.norm_mantissa.eq(norm.scalar.payload.mantissa),
            self.tiles.payload.norm_exponent.eq(norm.scalar.payload.exponent),
            norm.scalar.ready.eq(transfer & head.norm & head.last),
        ]
        # Out of a register: much in the post unit waits for it.
        m.d.sync += self.tiles.valid.eq(gathers & queue.r_rdy & (~head.norm | norm.coming))
        return queue.level

    def _count(self, m: Module, fetch: Fetch, neurons: NeuronCore) -> None:
        """Increments of the counters, some cycles after what they count."""
        step = neurons.steps.payload
        taken = neurons.steps.valid & neurons.steps.ready
        spikes = Signal(range(self.c.neuron_lanes + 1))
        first_tile = Signal()
        width = Signal(step.place.width.shape())
        digits = Signal(digits_layout(len(spikes)))
        m.d.sync += [
            spikes.eq(Mux(taken, sum(step.fired), 0)),
            first_tile.eq(step.place.first_tile),
            width.eq(step.place.width),
            self.counters.spikes.eq(Mux(first_tile, spikes, 0)),
            self.counters.events.eq(spikes),
            self.counters.synaptic_operations.eq(modulate_digits(width, digits, len(spikes))),
        ]
        m.d.comb += [
            digits.eq(recode(spikes)),
            self.counters.neurons.eq(fetch.neurons),
            self.counters.stream_stall.eq(fetch.stream_stall),
            self.counters.router_stall.eq(neurons.steps.valid & ~neurons.steps.ready),
        ]


def _save_carries(words: list) -> list:
    """Two words, or one, with the sum of equally wide ones: three become two, bit by bit."""
    while len(words) > 2:
        a, b, c, *others = words
        carries = (a & b) | (a & c) | (b & c)
        words = [*others, a ^ b ^ c, Cat(Const(0, 1), carries[:-1])]
    return words


def _total(m: Module, platform, words: list) -> Value:
    """Sum of two or more equally wide words."""
    words = _save_carries(words)
    zero = Const(0, len(words[0]))
    return carry_sum(m, platform, words[0], lambda b, c, d: c | d, zero, words[1], zero)
