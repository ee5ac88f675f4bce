"""Drives hdl.units.fire.fire in its bench: memories, the row ring, the unit that takes tiles."""

import numpy as np
from cocotb.triggers import RisingEdge

from golden.units.fixed import magnitude
from golden.units.functions import default_tables
from golden.units.neuron import total
from golden.units.norm import NormConstants, scalar_of_squares
from golden.units.synapse import gather
from hdl.lib.shapes import row_write_layout, settings_layout, sums_layout, tile_layout, word_layout
from hdl.units.fire.fire import SUMS_LATENCY, fire_counters_layout
from isa.formats import RSQRT_ENTRIES
from isa.packets import Space
from isa.schedule import Schedule
from tests.cocotb_support import generator, pack, parameters, unpack
from tests.units.devices import device

REGIONS = 4  # vectors in memory at a time
RING_BASE, RING_ROWS = 256, 64
NORM = NormConstants(mean_mantissa=171, mean_shift=9, epsilon_mantissa=215, epsilon_shift=3)


class Bench:
    """Drives every port of the harness and keeps a copy of what its memories hold."""

    def __init__(self, dut, name: str, schedules: list[Schedule]) -> None:
        """`schedules` have one start table; they lie in schedule memory one after the other."""
        self.dut, self.edge = dut, RisingEdge(dut.clk)
        self.c = device(parameters()["name"])
        self.rng = generator(f"fire {name}")
        ends = np.cumsum([len(s.steps) for s in schedules]).tolist()
        self.schedules = dict(zip([0, *ends], schedules, strict=False))  # by their first step
        self.tables = default_tables()
        self.rows = np.zeros((self.c.cores, RING_BASE + RING_ROWS, self.c.lanes), np.int64)
        self.region_words = self.c.vector_depth // REGIONS
        self.vectors = [None] * REGIONS
        self.done_count = 0
        self.done_waits = []
        self.counted = dict.fromkeys(
            ("neurons", "spikes", "events", "synaptic_operations", "gather_active"), 0
        )
        self.expected_counts = dict.fromkeys(
            ("neurons", "spikes", "events", "synaptic_operations"), 0
        )

    async def prepare(self) -> None:
        dut = self.dut
        for port in (
            "vector__enable", "magnitude__enable", "tables__enable", "row_write__valid",
            "tiles__ready", "read_word", "ring_pointer", "ring_available", "position", "token",
        ):  # fmt: skip
            if hasattr(dut, port):
                getattr(dut, port).value = 0
        schedule = self.schedules[0]
        settings = {
            "mean_mantissa": NORM.mean_mantissa, "mean_shift": NORM.mean_shift,
            "epsilon_mantissa": NORM.epsilon_mantissa, "epsilon_shift": NORM.epsilon_shift,
            "row_ring_base": RING_BASE, "row_ring_mask": RING_ROWS - 1,
            "skip_silent": int(schedule.skip_silent),
            **{f"start_{b}": s for b, s in enumerate(schedule.start)},
        }  # fmt: skip
        dut.settings.value = pack(settings_layout(), settings)
        for first, schedule in self.schedules.items():
            for step, word in enumerate(schedule.words()):
                await self.write_table(Space.SCHEDULE, first + step, word)
        for address in range(RSQRT_ENTRIES):
            await self.write_table(Space.RSQRT, address, int(self.tables.rsqrt[address]))
        await self.write_table(Space.SILU, 70, 0xFFFFFFFF)  # of another unit
        dut.tables__enable.value = 0
        for row in range(RING_BASE + RING_ROWS):
            await self.write_row(row)
        dut.row_write__valid.value = 0
        await self.edge
        await self.edge

    async def write_table(self, space: Space, address: int, data: int) -> None:
        self.dut.tables__enable.value = 1
        self.dut.tables__space.value = int(space)
        self.dut.tables__address.value = address
        self.dut.tables__data.value = data
        await self.edge

    async def write_row(self, row: int) -> None:
        """Random weights (-127..127) into one row of every core."""
        c, size = self.c, row_write_layout(self.c)["data"].shape.length
        for core in range(c.cores):
            for first in range(0, c.lanes, size):
                data = [self.rng.randint(-127, 127) for _ in range(size)]
                self.rows[core, row, first : first + size] = data
                write = {
                    "address": row, "cores": 1 << core, "spread": 0,
                    "lanes": ((1 << size) - 1) << first,
                    "data": [v & 0xFF for v in data],
                }  # fmt: skip
                self.dut.row_write__payload.value = pack(row_write_layout(c), write)
                self.dut.row_write__valid.value = 1
                await self.edge

    async def write_vector(self, region: int, values: list[int]) -> None:
        """The values and garbage behind them; the magnitude register of the region."""
        c, dut = self.c, self.dut
        garbage = [self.rng.randint(-(2**23) + 1, 2**23 - 1) for _ in range(c.vector_lanes)]
        padded = values + garbage[: -len(values) % c.vector_lanes]
        for word in range(len(padded) // c.vector_lanes):
            at = word * c.vector_lanes
            dut.vector__address.value = region * self.region_words + word
            dut.vector__data.value = pack(word_layout(c), padded[at : at + c.vector_lanes])
            dut.vector__enable.value = 1
            await self.edge
        dut.vector__enable.value = 0
        dut.magnitude__address.value = region
        dut.magnitude__data.value = magnitude(values)
        dut.magnitude__enable.value = 1
        await self.edge
        dut.magnitude__enable.value = 0

    async def until_done(self, count: int) -> None:
        for _ in range(50_000):
            if self.done_count >= count:
                return
            await self.edge
        raise AssertionError(f"{self.done_count} of {count} instructions done")

    async def watch(self) -> None:
        """Counts `done` and the counters' increments."""
        layout = fire_counters_layout(self.c)
        while True:
            await self.edge
            self.done_count += int(self.dut.done.value)
            now = unpack(layout, int(self.dut.counters.value))
            for name in self.counted:
                self.counted[name] += now[name]

    def neuron_rows(self, count: int, base: int) -> np.ndarray:
        """The rows (count, P) of neurons 0..count - 1 whose first row is `base`."""
        i = np.arange(count)
        return self.rows[i % self.c.cores, base + i // self.c.cores]

    def expect(
        self, codes, exponent: int | None, norm: bool, outputs: int, rows_of_tile, ring,
        first_step: int = 0,
    ) -> list:  # fmt: skip
        """What every tile must bring, and what it adds to the counters."""
        c = self.c
        one_hot = exponent is None
        spikes, arrived = 1 if one_hot else 0, np.array(codes)
        if not one_hot:
            for group in range(0, len(codes), c.neuron_lanes):
                group_codes = codes[group : group + c.neuron_lanes]
                padded = np.pad(group_codes, (0, c.neuron_lanes - len(group_codes)))
                summed, fired = total(padded, self.schedules[first_step])
                arrived[group : group + c.neuron_lanes] = summed[: len(group_codes)]
                spikes += fired
        scalar = (None, None)
        if norm:
            squares = int(np.sum(codes * arrived))
            scalar = scalar_of_squares(squares, exponent, NORM, self.tables)
        tiles = []
        for tile in range(-(-outputs // c.lanes)):
            width = min(c.lanes, outputs - tile * c.lanes)
            tiles.append(
                {
                    "sums": gather(arrived, rows_of_tile(tile)),
                    "exponent": exponent or 0, "scalar": scalar, "rows": ring,
                }
            )  # fmt: skip
            self.expected_counts["events"] += spikes
            self.expected_counts["synaptic_operations"] += spikes * width
        self.expected_counts["spikes"] += spikes
        self.expected_counts["neurons"] += len(codes) if not one_hot else 1
        return tiles


class Ring:
    """The row ring as Fire sees it: rows arrive at random and are freed when a tile is drained."""

    def __init__(self, bench: Bench, idle: float) -> None:
        self.bench, self.idle = bench, idle
        self.pointer, self.available, self.free = 0, 0, RING_ROWS
        self.stop = False

    async def run(self) -> None:
        dut, rng = self.bench.dut, self.bench.rng
        while not self.stop:
            await self.bench.edge
            if int(dut.ring_take.value):
                rows = int(dut.ring_take_rows.value)
                assert rows <= self.available
                self.pointer += rows
                self.available -= rows
            if self.free and rng.random() >= self.idle:
                arrived = rng.randint(1, min(self.free, 5))
                self.free -= arrived
                self.available += arrived
            dut.ring_pointer.value = self.pointer % RING_ROWS
            dut.ring_available.value = self.available


async def drain(bench: Bench, tiles: list, ring: Ring | None, stall: float) -> list[int]:
    """Takes tiles as they come and compares each with golden. Returns the transfers' cycles."""
    dut, c, rng = bench.dut, bench.c, generator(f"drain {stall}")
    words, cycle, transfers = c.lanes // c.vector_lanes, 0, []

    async def tick() -> None:
        nonlocal cycle
        cycle += 1
        assert cycle < 200_000, "no tile comes"
        await bench.edge

    for number, wanted in enumerate(tiles):
        while True:
            await tick()
            if int(dut.tiles__valid.value):
                break
        sums, pending = [], []
        order = list(range(words))
        rng.shuffle(order)
        for step in range(words + SUMS_LATENCY + 1):
            if step < words:
                while rng.random() < stall:
                    await collect(bench, pending, sums, tick)
                if hasattr(dut, "read_word"):
                    dut.read_word.value = order[step]
                pending.append(SUMS_LATENCY + 1)
                dut.tiles__ready.value = int(step == words - 1)
            await collect(bench, pending, sums, tick)
            if step == words - 1:
                transfers.append(cycle)
                got = unpack(tile_layout(), int(dut.tiles__payload.value))
                assert int(dut.tiles__valid.value)
                dut.tiles__ready.value = 0
        joined = np.zeros(c.lanes, np.int64)
        for word, values in zip(order, sums, strict=True):
            joined[word * c.vector_lanes : (word + 1) * c.vector_lanes] = values
        assert np.array_equal(joined, wanted["sums"]), (
            f"tile {number}: expected {wanted['sums']}, got {joined}"
        )
        assert got["exponent"] == wanted["exponent"], f"tile {number}: {got}"
        assert got["rows"] == wanted["rows"], f"tile {number}: {got}"
        if wanted["scalar"][0] is not None:
            scalar = (got["norm_mantissa"], got["norm_exponent"])
            assert scalar == wanted["scalar"], f"tile {number}: {got}, {wanted['scalar']}"
        if ring is not None:
            ring.free += got["rows"]
    return transfers


async def collect(bench: Bench, pending: list, sums: list, tick) -> None:
    """One cycle; a word whose read was issued SUMS_LATENCY cycles ago arrives."""
    await tick()
    for k in range(len(pending)):
        pending[k] -= 1
    if pending and pending[0] == 0:
        pending.pop(0)
        values = unpack(sums_layout(bench.c), int(bench.dut.sums.value))
        sums.append(values)
