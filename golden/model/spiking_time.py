"""Gathers: how codes become sums over rows. At once, or spike by spike in time.

`AtOnce` multiplies codes, which is what the sum of all spikes comes to. `InTime` runs the EI-IF
neurons of a schedule step by step and adds or subtracts a row for every spike, as the device does.
Both `fire` codes first; what was fired goes into `rows`, or onto operands (`modulate`), any number
of times. Both give the same integers; tests compare them on whole models.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch

from golden.memories import spike_response
from golden.model.arithmetic import Tensor, exact_type, look_up, saturate
from isa.formats import ARRIVED_MAXIMUM, CODE, POTENTIAL
from isa.schedule import LEAK_CLEAR, Population, Reset, Schedule, Step


def neuron_step(potential: Tensor, code: Tensor, entry: Step) -> tuple[Tensor, Tensor]:
    """One step of any number of EI-IF neurons, as in golden/units/neuron.py: (potential, signs)."""
    v = potential
    if entry.integrate:
        v, _ = saturate(v + code, POTENTIAL.bits)
    sign = torch.where(v.abs() >= entry.threshold, v.sign(), torch.zeros_like(v))
    if entry.reset is Reset.SOFT:
        v = v - (sign << entry.amplitude)
    elif entry.reset is Reset.HARD:
        v = torch.where(sign != 0, torch.zeros_like(v), v)
    if entry.leak == LEAK_CLEAR:
        v = torch.zeros_like(v)
    elif entry.leak:
        v = v - (v >> entry.leak)
    v, _ = saturate(v, POTENTIAL.bits)
    return v, sign


PROJECTIONS = {
    "qkv": Population.qkv, "attended": Population.out, "gate": Population.gated,
    "up": Population.gated, "down": Population.down, "logits": Population.head,
}  # fmt: skip


def population_of(operator: str) -> Population:
    """The population that fires into an operator (`layers.N.qkv`, ...)."""
    return PROJECTIONS.get(operator.rpartition(".")[2], Population.attention)


def gathering_type(codes: Tensor) -> torch.dtype:
    """The float type that is exact for sums of codes (..., n) times n weights in +-127."""
    return exact_type(codes.shape[-1] * ARRIVED_MAXIMUM * CODE.maximum)


class AtOnce:
    """Sums of products of codes, carried by BLAS in a type in which they are exact.

    Args:
        schedules: of the populations whose thresholds are raised: less may arrive than is coded.
    """

    def __init__(self, schedules: Mapping[Population, Schedule] | None = None) -> None:
        self.arrives = {p: torch.tensor(spike_response(s)[0], dtype=torch.float32)
                        for p, s in (schedules or {}).items()}

    def fire(self, codes: Tensor, population: Population | None) -> Tensor:
        """What of codes (..., n) in +-127 arrives at synapses: each neuron's weighted spikes.

        None: all of it arrives.
        """
        table = self.arrives.get(population)
        return codes if table is None else look_up(table, codes + CODE.maximum)

    def rows(self, fired: Tensor, rows: Tensor) -> Tensor:
        """What was fired (..., n) into rows (..., n, outputs) -> (..., outputs), floating.

        Rows are in +-127, or of a type that is exact for sums of theirs.
        """
        kind = torch.promote_types(rows.dtype, gathering_type(fired))
        return fired.to(kind) @ rows.to(kind)

    def modulate(self, fired: Tensor, operand: Tensor) -> Tensor:
        """What was fired onto operands of the vector format, one by one."""
        return fired * operand


class Volley(NamedTuple):
    """Codes and the spikes that they became: signs (-1, 0, 1) and amplitude of each step."""

    codes: Tensor
    steps: list[tuple[Tensor, int]]


class InTime:
    """The same sums, formed by firing schedules step by step; counts the spikes it fired.

    Args:
        schedule: of the populations that have none of their own.
        schedules: of those that have.
    """

    def __init__(self, schedule: Schedule,
                 schedules: Mapping[Population, Schedule] | None = None) -> None:
        self.schedule, self.schedules, self.fired = schedule, schedules or {}, 0

    def fire(self, codes: Tensor, population: Population | None) -> Volley:
        """The spikes of codes (..., n), by step."""
        codes = potential = codes.to(torch.int64)
        volley = Volley(codes, [])
        for entry in self.schedules.get(population, self.schedule).steps:
            potential, sign = neuron_step(potential, codes, entry)
            if sign.any():                      # a silent step adds nothing
                self.fired += int(torch.count_nonzero(sign))
                volley.steps.append((sign, entry.amplitude))
        return volley

    def rows(self, fired: Volley, rows: Tensor) -> Tensor:
        """As `AtOnce.rows`: each step adds and subtracts rows, shifted by its amplitude."""
        kind = torch.promote_types(rows.dtype, gathering_type(fired.codes))
        total = torch.zeros((*fired.codes.shape[:-1], rows.shape[-1]), dtype=kind)
        for sign, amplitude in fired.steps:
            total += (sign.to(kind) @ rows.to(kind)) * 2**amplitude
        return total

    def modulate(self, fired: Volley, operand: Tensor) -> Tensor:
        """As `AtOnce.modulate`: each spike adds or subtracts a shifted copy of its operand."""
        total = torch.zeros_like(fired.codes * operand)
        for sign, amplitude in fired.steps:
            spikes = torch.where(sign > 0, operand, torch.where(sign < 0, -operand, 0))
            total += spikes * 2**amplitude
        return total
