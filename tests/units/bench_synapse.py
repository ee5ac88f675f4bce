"""The bench of hdl.units.fire.synapse: address events in, tiles of sums out."""

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from golden.units.neuron import fire
from golden.units.synapse import gather_spikes
from hdl.lib.shapes import event_layout, row_write_layout, sums_layout
from hdl.units.fire.synapse import WORD_LATENCY
from isa.schedule import phase_schedule
from tests.cocotb_support import (
    STALLS,
    Source,
    generator,
    pack,
    parameters,
    start,
    unpack,
)
from tests.units.devices import device

ROWS = 48


async def begin(dut, rng, c) -> np.ndarray:
    """Fills ROWS rows with random weights, the extremes among them."""
    await start(dut)
    dut.free.value = 0
    rows = np.zeros((ROWS, c.lanes), np.int64)
    size = row_write_layout(c)["data"].shape.length
    for row in range(ROWS):
        for first in range(0, c.lanes, size):
            data = [rng.choice([-128, 127, rng.randint(-128, 127)]) for _ in range(size)]
            rows[row, first : first + size] = data
            dut.row_write__valid.value = 1
            dut.row_write__payload.value = pack(row_write_layout(c), {
                "address": row, "cores": 1, "lanes": ((1 << size) - 1) << first,
                "data": [v & 0xFF for v in data],
            })  # fmt: skip
            await RisingEdge(dut.clk)
    dut.row_write__valid.value = 0
    await RisingEdge(dut.clk)
    return rows


def tile(rng, rows: np.ndarray, events: int) -> tuple[list[dict], np.ndarray]:
    """Random spikes and their sums; sums wrap at the accumulators' width."""
    result, total = [], np.zeros(rows.shape[1], np.int64)
    for _ in range(events):
        row, negative, amplitude = rng.randrange(ROWS), rng.getrandbits(1), rng.randrange(8)
        result.append({"row": row, "negative": negative, "amplitude": amplitude, "end": 0})
        total += (-1 if negative else 1) * (rows[row] << amplitude)
    end = {"row": rng.getrandbits(20), "negative": rng.getrandbits(1),
           "amplitude": rng.randrange(8), "end": 1}  # fmt: skip
    return [*result, end], total


def _wrap(values: np.ndarray, bits: int) -> np.ndarray:
    return ((values + (1 << (bits - 1))) % (1 << bits)) - (1 << (bits - 1))


async def drain(dut, c, rng, tiles: list[np.ndarray], wait: float) -> None:
    """Reads every tile through the readout, words in random order, the last ones after `free`."""
    edge, words = RisingEdge(dut.clk), c.lanes // c.vector_lanes
    for number, wanted in enumerate(tiles):
        for _ in range(100_000):
            await edge
            dut.free.value = 0
            if int(dut.full.value) and rng.random() >= wait:
                break
        else:
            raise AssertionError(f"tile {number} does not come")
        order = rng.sample(range(words), words)
        correction = int(dut.correction.value)  # which holds while `full` is set
        got = np.zeros(c.lanes, np.int64)
        # After `free` three more reads are of this tile.
        free_at = rng.randint(max(0, words - 4), words - 1)
        for step in range(words + WORD_LATENCY + 1):
            if step < words and hasattr(dut, "read_word"):
                dut.read_word.value = order[step]
            dut.free.value = int(step == free_at)
            await edge
            if step >= WORD_LATENCY and step - WORD_LATENCY < words:
                values = np.array(unpack(sums_layout(c), int(dut.word.value)))
                at = order[step - WORD_LATENCY] * c.vector_lanes
                got[at : at + c.vector_lanes] = values + correction
        dut.free.value = 0
        assert np.array_equal(_wrap(got, c.accumulator_bits), _wrap(wanted, c.accumulator_bits)), (
            f"tile {number}: expected {wanted}, got {got}"
        )


@cocotb.test()
async def random_tiles(dut):
    c, rng = device(parameters()["name"]), generator("synapse")
    rows = await begin(dut, rng, c)
    for idle, wait in STALLS:
        events, tiles = [], []
        for _ in range(30):
            some, total = tile(rng, rows, rng.choice([0, 1, 2, 5, 60]))
            events += some
            tiles.append(total)
        source = Source(dut, "events", event_layout(c), idle)
        source.put(events)
        await drain(dut, c, rng, tiles, wait)
        source.stop()
        for _ in range(20):
            await RisingEdge(dut.clk)
            assert not int(dut.full.value)


@cocotb.test()
async def codes_by_phases(dut):
    """Whole groups of codes, spike by spike, as golden gathers them."""
    c, rng = device(parameters()["name"]), generator("synapse codes")
    rows = await begin(dut, rng, c)
    schedule = phase_schedule()
    events, tiles = [], []
    for _ in range(20):
        codes = np.array([rng.randint(-127, 127) for _ in range(ROWS)])
        for spikes in fire(codes, schedule):
            for row in np.flatnonzero(spikes.sign):
                events.append({
                    "row": int(row), "negative": int(spikes.sign[row] < 0),
                    "amplitude": spikes.amplitude, "end": 0,
                })  # fmt: skip
        events.append({"row": 0, "negative": 0, "amplitude": 0, "end": 1})
        tiles.append(gather_spikes(codes, rows, schedule))
        assert np.array_equal(tiles[-1], codes @ rows)
    source = Source(dut, "events", event_layout(c))
    source.put(events)
    await drain(dut, c, rng, tiles, 0.0)
    source.stop()
