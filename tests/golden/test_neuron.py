"""The neuron's step, for NumPy and PyTorch, against one neuron in plain Python."""

import random

import numpy as np
import pytest
import torch

from golden.quantisation.responses import response
from golden.units.neuron import step, sums_and_counts, total
from isa.schedule import EXACT_THRESHOLDS, SCHEDULES, Reset, Step
from tests.golden.plain_spiking import plain_neuron
from tests.seeds import generator

CODES = np.arange(-127, 128)


def random_steps(draw: random.Random) -> tuple[Step, ...]:
    """Any program that the schedule memory can hold; low thresholds and the highest one, too."""
    return tuple(Step(draw.choice([1, 2, 40, draw.randint(1, 300), 32767]), draw.randint(0, 7),
                      draw.choice([0, 0, 1, 3, 14, 15]), draw.choice(list(Reset)),
                      draw.random() < 0.5) for _ in range(draw.randint(1, 40)))


def all_steps() -> list[tuple[Step, ...]]:
    draw = generator("neuron")
    # Strong input without any reset: potentials saturate.
    loud = (Step(32767, integrate=True),) * 300
    return [*(make().steps for make in SCHEDULES.values()), loud,
            *(random_steps(draw) for _ in range(12))]


@pytest.mark.parametrize("kind", [np.array, torch.tensor], ids=["numpy", "torch"])
def test_every_step_is_the_plain_neurons(kind):
    for steps in all_steps():
        plain = [plain_neuron(int(code), steps) for code in CODES]
        codes = potential = kind(CODES)
        for n, entry in enumerate(steps):
            potential, spikes = step(potential, codes, entry)
            assert type(potential) is type(spikes.sign) is type(codes)
            assert potential.dtype == spikes.sign.dtype == codes.dtype
            assert potential.tolist() == [history[n][0] for history in plain]
            assert spikes.sign.tolist() == [history[n][1] for history in plain]
            assert spikes.amplitude == entry.amplitude
        sums, counts = sums_and_counts(codes, steps)
        assert sums.tolist() == [sum(sign << entry.amplitude for (_, sign), entry
                                     in zip(history, steps, strict=True)) for history in plain]
        assert counts.tolist() == [sum(abs(sign) for _, sign in history) for history in plain]


def test_the_loud_schedule_saturates():
    """What the test above compares reaches the potential's end."""
    assert plain_neuron(127, all_steps()[len(SCHEDULES)])[-1][0] == 32767


@pytest.mark.parametrize("schedule", sorted(SCHEDULES))
def test_skipped_steps_are_silent(schedule):
    """A group by itself, with what its start table skips, gives what all steps give."""
    program = SCHEDULES[schedule]()
    sums, counts = sums_and_counts(CODES, program.steps)
    for code, sum_, count in zip(CODES, sums, counts, strict=True):
        found, spikes = total(np.array([code]), program)
        assert (found[0], spikes) == (sum_, count)


def test_lowered_thresholds_have_a_response():
    """Slopes look below the exact thresholds, and beyond what the memory of schedules holds."""
    for thresholds in ((1,) * 8, (40_000,) * 8, EXACT_THRESHOLDS):
        sums, counts = response(thresholds)
        steps = [Step(min(t, 32767), k, reset=Reset.SOFT)
                 for k, t in zip(range(7, -1, -1), thresholds, strict=True)]
        for code, sum_, count in zip(CODES, sums, counts, strict=True):
            signs = [sign for _, sign in plain_neuron(int(code), steps)]
            assert count == sum(map(abs, signs))
            assert sum_ == sum(sign << k for k, sign in zip(range(7, -1, -1), signs, strict=True))
