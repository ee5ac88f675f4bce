"""EI-IF neuron: signed integrate-and-fire with a programmable schedule.

A group of neurons begins charged with its input, V = code. Then for every step of the schedule, in
order (BrainTransformers' EI-IF neuron; soft and hard reset and leak from the wider literature):

    V <- V + code                 if the step integrates
    S <- sign(V)                  if |V| >= threshold, else 0
    V <- V - S * 2**amplitude     if the reset is SOFT;   V <- 0 where S != 0 if it is HARD
    V <- V - (V >> leak)          if 0 < leak < 15 (rounding down);   V <- 0 if leak == 15

The spike's weight on its synapses is S * 2**amplitude. V saturates at 16 bits, symmetric.

Everything of golden/ that steps neurons steps them here. `step` takes NumPy arrays and PyTorch
tensors of int64 alike, as it uses only what both have; the rest of this file is NumPy's.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np

from isa.formats import CODE, POTENTIAL
from isa.schedule import LEAK_CLEAR, Reset, Schedule, Step


@dataclass
class Spikes:
    """What one step fires: sign per neuron in {-1, 0, 1} and the amplitude's exponent."""

    sign: np.ndarray
    amplitude: int


def step(potential: np.ndarray, code: np.ndarray, entry: Step) -> tuple[np.ndarray, Spikes]:
    """One step of the schedule for any number of neurons: (new potential, spikes).

    Potentials and codes are int64, NumPy's or PyTorch's; the results are of the same kind.
    """
    v, limit = potential, POTENTIAL.maximum
    if entry.integrate:
        v = (v + code).clip(-limit, limit)
    sign = (v >= entry.threshold) * 1 - (v <= -entry.threshold) * 1      # thresholds are positive
    if entry.reset is Reset.SOFT:
        v = v - sign * 2**entry.amplitude
    elif entry.reset is Reset.HARD:
        v = v * (sign == 0)
    if entry.leak == LEAK_CLEAR:
        v = v * 0
    elif entry.leak:
        v = v - (v >> entry.leak)
    return v.clip(-limit, limit), Spikes(sign, entry.amplitude)


def sums_and_counts(codes: np.ndarray, steps: Iterable[Step]) -> tuple[np.ndarray, np.ndarray]:
    """(sum of weighted spikes, number of spikes) of each neuron over all steps, none skipped.

    Arrays are as in `step`.
    """
    potential, total, count = codes, codes * 0, codes * 0
    for entry in steps:
        potential, spikes = step(potential, codes, entry)
        total = total + spikes.sign * 2**spikes.amplitude
        count = count + abs(spikes.sign)
    return total, count


def fire(codes: np.ndarray, schedule: Schedule) -> list[Spikes]:
    """All spikes of a group of neurons that get constant input `codes`, one item for each step.

    The steps that the schedule's start table and its early stop skip are skipped here too, as the
    hardware does for a group of neurons; they must be silent, which `Schedule` cannot know and
    tests prove for the shipped schedules.
    """
    codes = np.asarray(codes, dtype=np.int64)
    peak = int(np.bitwise_or.reduce(np.abs(codes), initial=0)).bit_length()
    potential, spikes = codes.copy(), []
    if peak == 0 and schedule.skip_silent:
        return spikes
    for entry in schedule.steps[schedule.start[peak] :]:
        potential, fired = step(potential, codes, entry)
        spikes.append(fired)
        if schedule.skip_silent and entry.final_when_zero and not potential.any():
            break
    return spikes


def total(codes: np.ndarray, schedule: Schedule) -> tuple[np.ndarray, int]:
    """(sum of every neuron's weighted spikes, number of spikes): the code that arrives."""
    result, count = np.zeros(np.shape(codes), dtype=np.int64), 0
    for fired in fire(codes, schedule):
        result += fired.sign << fired.amplitude
        count += int(np.count_nonzero(fired.sign))
    return result, count


@cache
def spike_response(schedule: Schedule) -> tuple[np.ndarray, np.ndarray]:
    """(sum of weighted spikes, number of spikes) of every code -127..127, index code + 127.

    A neuron's spikes depend on its own code only (what a group skips is silent), so a model may
    look them up instead of stepping.
    """
    pairs = [total(np.array([q]), schedule) for q in range(-CODE.maximum, CODE.maximum + 1)]
    return np.array([int(s[0]) for s, _ in pairs]), np.array([n for _, n in pairs])
