"""The bench of hdl.units.fire.neuron: groups in, steps and sums of squares out."""

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from golden.units.neuron import fire
from hdl.lib.shapes import settings_layout
from hdl.units.fire.layouts import group_layout, step_layout
from hdl.units.fire.neuron import NeuronCore
from hdl.units.fire.squares import SQUARES_BITS, squares_layout
from isa.formats import SCHEDULE_STEPS
from isa.packets import Space
from isa.schedule import (
    EXACT_THRESHOLDS,
    LEAK_CLEAR,
    SCHEDULES,
    Reset,
    Schedule,
    Step,
    phase_schedule,
)
from tests.cocotb_support import STALLS, check_streams, generator, parameters, start
from tests.packing import pack
from tests.units.devices import device


def random_schedule(rng, lengths=(1, 2, 7, SCHEDULE_STEPS), skip: bool | None = None) -> Schedule:
    """Any steps that the memory can hold: potentials saturate, leak and change sign."""
    steps = tuple(
        Step(
            threshold=rng.choice([1, rng.randint(1, 300), rng.randint(1, 32767), 32767]),
            amplitude=rng.randrange(8),
            leak=rng.choice([0, 0, rng.randint(1, 14), LEAK_CLEAR]),
            reset=rng.choice(list(Reset)),
            integrate=rng.random() < 0.6,
            final_when_zero=rng.random() < 0.3,
        )
        for _ in range(rng.choice(lengths))
    )
    first = tuple(rng.randrange(len(steps)) for _ in range(8))
    skip = rng.random() < 0.7 if skip is None else skip
    return Schedule("random", steps, first, skip_silent=skip)


def raised_schedule(rng) -> Schedule:
    """A phase schedule with thresholds as plasticity may set them: some spikes never fire."""
    return phase_schedule([least + rng.choice([0, 0, 1, rng.randrange(2 * least), 200])
                           for least in EXACT_THRESHOLDS], "raised")  # fmt: skip


def one_after_the_other(schedules: list[Schedule]) -> list[tuple[int, Schedule]]:
    """Each schedule with its first entry in the schedule memory, as many as it holds."""
    placed, first = [], 0
    for schedule in schedules:
        if first + len(schedule.steps) > SCHEDULE_STEPS:
            break
        placed.append((first, schedule))
        first += len(schedule.steps)
    return placed


def saturating_schedule() -> Schedule:
    """Integrates to the limits of the potential (127 * 300 is beyond them) and then leaks."""
    climb = Step(threshold=32767, amplitude=7, integrate=True)
    steps = (climb,) * 120 + (
        Step(threshold=32767, reset=Reset.HARD, integrate=True),
        Step(threshold=100, leak=1, amplitude=7, reset=Reset.SOFT),
        Step(threshold=1, leak=3),
    )
    return Schedule("saturating", steps, skip_silent=False)


def _place(c, rng, end: bool) -> dict:
    return {
        "row": rng.getrandbits(20), "ring": rng.getrandbits(1), "end": int(end),
        "first_tile": rng.getrandbits(1), "width": rng.randint(1, c.lanes),
    }  # fmt: skip


def _codes(c, rng) -> np.ndarray:
    peak = rng.choice([0, 1, 1, 3, 7, 40, 127, 127])
    sparse = rng.choice([0.0, 0.8])
    codes = [0 if rng.random() < sparse else rng.randint(-peak, peak)
             for _ in range(c.neuron_lanes)]  # fmt: skip
    return np.array(codes)


class Expected:
    """Golden's answer to the groups put in so far; each tile fires one of the loaded schedules."""

    def __init__(self, c, rng, loaded: list[tuple[int, Schedule]]) -> None:
        self.c, self.rng, self.loaded = c, rng, loaded
        self.first, self.schedule = loaded[0]
        self.groups, self.steps, self.squares = [], [], []
        self.cycles = 0  # that the core needs for shipped schedules when nothing stalls

    def tile(self, groups: int, squares: bool) -> None:
        exponent, total = self.rng.randint(-7, 17), 0
        self.first, self.schedule = self.rng.choice(self.loaded)
        for number in range(groups):
            codes = _codes(self.c, self.rng)
            total += self.group(codes, number == groups - 1, squares, exponent)
        if squares:
            total &= (1 << SQUARES_BITS) - 1
            self.squares.append({"sum": total, "exponent": exponent})

    def group(self, codes: np.ndarray, end: bool, squares: bool, exponent: int) -> int:
        place = _place(self.c, self.rng, end)
        bits = int(np.bitwise_or.reduce(np.abs(codes))).bit_length()
        self.groups.append({
            "codes": codes.tolist(), "start": self.first + self.schedule.start[bits],
            "silent": int(self.schedule.skip_silent and not bits), "direct": 0,
            "squares": int(squares), "exponent": exponent, "place": place,
        })  # fmt: skip
        spikes, total = fire(codes, self.schedule), 0
        steps = self.schedule.steps[self.schedule.start[bits] :]
        stops = 0 < len(spikes) < len(steps)  # as all potentials are zero, which the core sees late
        for number, spike in enumerate(spikes):
            last = end and number == len(spikes) - 1 and not stops
            self.send(spike.sign, spike.amplitude, place, last)
            total += int(np.sum(spike.sign * (codes << spike.amplitude)))
        if end and (stops or not spikes):
            amplitude = steps[len(spikes)].amplitude if stops else 0
            self.send(np.zeros_like(codes), amplitude, place, True)
        if spikes or end:
            cycles = len(spikes) + NeuronCore.STOP_CYCLES * stops
            self.cycles += max(NeuronCore.GROUP_CYCLES, cycles)
        return total

    def direct(self) -> None:
        """A single neuron that fires at once; a tile of its own."""
        codes = np.zeros(self.c.neuron_lanes, np.int64)
        codes[self.rng.randrange(self.c.neuron_lanes)] = 1
        place = _place(self.c, self.rng, True)
        self.groups.append({
            "codes": codes.tolist(), "start": self.rng.randrange(SCHEDULE_STEPS), "silent": 0,
            "direct": 1, "squares": 0, "exponent": 0, "place": place,
        })  # fmt: skip
        self.send(codes, 0, place, True)
        self.cycles += NeuronCore.GROUP_CYCLES

    def send(self, sign: np.ndarray, amplitude: int, place: dict, end: bool) -> None:
        if not sign.any() and not end:
            return
        bits = [sum(1 << k for k in np.flatnonzero(m)) for m in (sign != 0, sign < 0)]
        self.steps.append({
            "fired": bits[0], "negative": bits[1], "amplitude": amplitude,
            "place": place | {"end": int(end)},
        })  # fmt: skip


async def load(dut, loaded: list[tuple[int, Schedule]], rng) -> None:
    edge = RisingEdge(dut.clk)
    words = [(first + n, w) for first, s in loaded for n, w in enumerate(s.words())]
    rng.shuffle(words)
    for space, (address, word) in (
        *((Space.SCHEDULE, w) for w in words), (Space.EXP2, (0, 0)), (Space.RSQRT, (1, 0)),
    ):  # fmt: skip
        dut.tables__enable.value = 1
        dut.tables__space.value = int(space)
        dut.tables__address.value = address
        dut.tables__data.value = word
        await edge
    dut.tables__enable.value = 0
    (skip,) = {int(schedule.skip_silent) for _, schedule in loaded}
    dut.settings.value = pack(settings_layout(), {"skip_silent": skip})


async def run(dut, schedules: list[Schedule], rng, tiles: int, stalls, with_squares: bool = True):
    """Random tiles; returns what was expected and the transfers' cycles."""
    c = device(parameters()["name"])
    loaded = one_after_the_other(schedules)
    await load(dut, loaded, rng)
    expected = Expected(c, rng, loaded)
    for _ in range(tiles):
        if rng.random() < 0.15:
            expected.direct()
        else:
            expected.tile(rng.choice([1, 1, 2, 5]), with_squares and rng.random() < 0.4)
    cycles = await check_streams(
        dut,
        {"groups": (group_layout(c), expected.groups)},
        {
            "steps": (step_layout(c), expected.steps),
            "squares": (squares_layout(), expected.squares),
        },
        stalls,
        quiet_cycles=150,
    )
    return expected, cycles


@cocotb.test()
async def phase_and_unary(dut):
    await start(dut)
    rng = generator("neuron shipped")
    for stalls in STALLS:
        await run(dut, [SCHEDULES["phase"]()], rng, 60, stalls)
        await run(dut, [SCHEDULES["unary"]()], rng, 5, stalls)


@cocotb.test()
async def random_schedules(dut):
    await start(dut)
    rng = generator("neuron random")
    for number in range(24):
        await run(dut, [random_schedule(rng)], rng, 8, STALLS[number % len(STALLS)])
    for _ in range(2):
        await run(dut, [saturating_schedule()], rng, 6, (0.0, 0.0))


@cocotb.test()
async def schedules_of_several_populations(dut):
    """Raised thresholds, and any schedules, beyond entry 0: each ends with its own last step."""
    await start(dut)
    rng = generator("neuron populations")
    for stalls in STALLS:
        raised = [SCHEDULES["phase"](), *(raised_schedule(rng) for _ in range(15))]
        await run(dut, raised, rng, 60, stalls)
        skip = rng.random() < 0.5
        mixed = [random_schedule(rng, (1, 2, 7, 20), skip) for _ in range(20)]
        await run(dut, mixed, rng, 16, stalls)


@cocotb.test()
async def every_code(dut):
    """All 255 codes, in all lanes in turn, by the phase schedule."""
    await start(dut)
    c, rng = device(parameters()["name"]), generator("neuron codes")
    loaded = [(0, SCHEDULES["phase"]())]
    await load(dut, loaded, rng)
    expected = Expected(c, rng, loaded)
    codes = [*range(-127, 128)] + [0] * (-255 % c.neuron_lanes)
    for first in range(0, len(codes), c.neuron_lanes):
        expected.group(np.array(codes[first : first + c.neuron_lanes]), True, False, 0)
    for lane in range(c.neuron_lanes):
        for code in (-127, -86, 85, 43, 127):
            alone = np.zeros(c.neuron_lanes, np.int64)
            alone[lane] = code
            expected.group(alone, True, False, 0)
    await check_streams(
        dut, {"groups": (group_layout(c), expected.groups)},
        {"steps": (step_layout(c), expected.steps)},
    )  # fmt: skip
