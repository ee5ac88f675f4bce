"""Exact cycles of hdl.units.fire.neuron, counted by what its units export."""

import cocotb
import numpy as np
import pytest

from golden.units.neuron import fire
from hdl.units.fire.layouts import group_layout, step_layout
from hdl.units.fire.neuron import NeuronCore
from hdl.units.fire.step_control import step_cycles
from isa.schedule import LEAK_CLEAR, SCHEDULES, Schedule
from tests.cocotb_support import check_streams, generator, parameters, run_cocotb, start
from tests.units.bench_neuron import Expected, load, random_schedule, run
from tests.units.devices import DEVICES, device

SCHEDULES_TRIED = 12
GROUPS = 6


def group_cycles(codes: np.ndarray, schedule: Schedule) -> tuple[int, int]:
    """The cycles of a group, and how many of them are those of an early stop."""
    bits = int(np.bitwise_or.reduce(np.abs(codes))).bit_length()
    steps = schedule.steps[schedule.start[bits] :]
    taken = len(fire(codes, schedule))
    cycles, reloaded = 0, False
    for step in steps[:taken]:
        cycles += step_cycles(step, reloaded)
        may_stop = schedule.skip_silent and step.final_when_zero
        reloaded = step.leak == LEAK_CLEAR and not may_stop
    stop = 0
    if taken < len(steps):  # the first step that is not taken begins in the stop's first cycle
        is_last = taken == len(steps) - 1 and step_cycles(steps[taken]) == 1
        stop = 1 if is_last else NeuronCore.STOP_CYCLES
    return cycles + stop, stop


@cocotb.test()
async def cycles_of_any_schedule(dut):
    """Groups that are tiles of their own, one behind the other: every cycle is accounted for."""
    await start(dut)
    c, rng = device(parameters()["name"]), generator("neuron cycles")
    for _ in range(SCHEDULES_TRIED):
        schedule = random_schedule(rng, lengths=(1, 2, 3, 7, 20))
        await load(dut, [(0, schedule)], rng)
        expected, cycles = Expected(c, rng, [(0, schedule)]), []
        for _ in range(GROUPS):
            codes = np.array([rng.randint(1, 127) for _ in range(c.neuron_lanes)])
            expected.group(codes, True, False, 0)
            taken, stop = group_cycles(codes, schedule)
            cycles.append(max(NeuronCore.GROUP_CYCLES, taken))
        seen = await check_streams(
            dut, {"groups": (group_layout(c), expected.groups)},
            {"steps": (step_layout(c), expected.steps)}, quiet_cycles=5,
        )  # fmt: skip
        # A stop is seen, and its step complete, in the first of its cycles.
        cycles[-1] = taken - max(0, stop - 1)
        took = seen["steps"][-1] - seen["groups"][0]
        assert took == NeuronCore.LATENCY - 1 + sum(cycles), (took, cycles, schedule)


@cocotb.test()
async def one_step_a_cycle(dut):
    """Without stalls the core needs exactly the cycles of the steps it takes, silent or not."""
    await start(dut)
    rng = generator("neuron rate")
    for name in ("phase", "unary"):
        expected, cycles = await run(dut, [SCHEDULES[name]()], rng, 50, (0.0, 0.0), False)
        took = cycles["steps"][-1] - cycles["groups"][0]
        # Silent groups are dropped one a cycle, which can delay a group behind several of them.
        dropped = sum(g["silent"] and not g["place"]["end"] for g in expected.groups)
        assert took <= expected.cycles + dropped + NeuronCore.LATENCY, (took, expected.cycles)


@pytest.mark.cycles
@pytest.mark.parametrize("name", DEVICES)
def test_neuron_cycles(name):
    run_cocotb(NeuronCore(device(name)), __name__, f"neuron_{name}", {"name": name})
