"""The bench of hdl.units.fire.router: random steps in, every core's events out."""

import cocotb

from hdl.lib.shapes import event_layout, settings_layout
from hdl.units.fire.layouts import step_layout
from tests.cocotb_support import STALLS, Sink, Source, generator, pack, parameters, start
from tests.units.devices import device

RING_BASE, RING_MASK = 0x2C0, 0x3F


def random_steps(c, rng, tiles: int, density: float) -> list[dict]:
    steps = []
    for _ in range(tiles):
        ring = rng.getrandbits(1)
        for number in range(count := rng.choice([1, 2, 12])):
            fired = sum((rng.random() < density) << k for k in range(c.neuron_lanes))
            steps.append({
                "fired": fired, "negative": fired & rng.getrandbits(c.neuron_lanes),
                "amplitude": rng.randrange(8),
                "place": {
                    "row": rng.randrange((1 << 20) - 64), "ring": ring,
                    "end": int(number == count - 1), "first_tile": rng.getrandbits(1),
                    "width": rng.randint(1, c.lanes),
                },
            })  # fmt: skip
    return steps


def _events(c, steps: list[dict]) -> list[list[dict]]:
    """Each core's events, as the contract has them."""
    events = [[] for _ in range(c.cores)]
    for step in steps:
        place = step["place"]
        for lane in range(c.neuron_lanes):
            if step["fired"] >> lane & 1:
                row = place["row"] + lane // c.cores
                if place["ring"]:
                    row = RING_BASE | (row & RING_MASK)
                events[lane % c.cores].append({
                    "row": row, "negative": step["negative"] >> lane & 1,
                    "amplitude": step["amplitude"], "end": 0,
                })  # fmt: skip
        if place["end"]:
            for core in events:
                core.append(None)
    return events


def _without_end(event: dict) -> dict | None:
    return None if event["end"] else event


async def begin(dut):
    await start(dut)
    fields = {"row_ring_base": RING_BASE, "row_ring_mask": RING_MASK}
    dut.settings.value = pack(settings_layout(), fields)
    return device(parameters()["name"]), generator("router")


async def check(
    dut, c, steps, source_idle: float, stalls: list[float]
) -> tuple[list[int], list[list[int]]]:
    """Every core's events in order, nothing more; returns the cycles in which steps were taken, and
    for each core those in which events came."""
    layout = event_layout(c)
    sinks = [Sink(dut, f"events__{k}", layout, stall) for k, stall in enumerate(stalls)]
    source = Source(dut, "steps", step_layout(c), source_idle)
    source.put(steps)
    for core, wanted in enumerate(_events(c, steps)):
        got = [_without_end(e) for e in await sinks[core].receive(len(wanted))]
        assert got == wanted, f"core {core}, idle {source_idle}, stalls {stalls}"
    for sink in sinks:
        await sink.silent(10)
        sink.stop()
    source.stop()
    return source.cycles, [sink.cycles for sink in sinks]


@cocotb.test()
async def nothing_lost(dut):
    c, rng = await begin(dut)
    for density in (0.02, 0.3, 1.0):
        for idle, stall in STALLS:
            steps = random_steps(c, rng, 40, density)
            uneven = [rng.choice([0.0, stall, 0.9]) for _ in range(c.cores)]
            await check(dut, c, steps, idle, [stall] * c.cores)
            await check(dut, c, steps, idle, uneven)


@cocotb.test()
async def silent_cores_take_no_room(dut):
    """One core's queue is full and stalls; steps for others pass until it gets one more."""
    c, rng = await begin(dut)
    if c.cores == 1:
        return
    only_last = 1 << (c.cores - 1)
    step = {"fired": 1, "negative": 0, "amplitude": 0,
            "place": {"row": 0, "ring": 0, "end": 0, "first_tile": 0, "width": 1}}  # fmt: skip
    sinks = [Sink(dut, f"events__{k}", event_layout(c), stall=float(k == 0))
             for k in range(c.cores)]  # fmt: skip
    source = Source(dut, "steps", step_layout(c))
    source.put([step] * (c.router_depth - 1) + [step | {"fired": only_last}] * 100)
    assert len(await sinks[-1].receive(100)) == 100
    for agent in (*sinks, source):
        agent.stop()
