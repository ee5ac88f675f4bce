"""Gathers: how codes become sums over rows. At once, or spike by spike in time.

`AtOnce` multiplies codes, which is what the sum of all spikes comes to. `InTime` runs the EI-IF
neurons of a schedule step by step and adds or subtracts a row for every spike, as the device does.
Both give the same integers; tests compare them on whole models.
"""

from collections.abc import Mapping

import torch

from golden.memories import spike_response
from golden.model.arithmetic import Tensor, exact_type, saturate
from isa.formats import CODE, POTENTIAL
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


class AtOnce:
    """Sums of products of codes, carried by BLAS in a type in which they are exact.

    Args:
        schedules: of the populations whose thresholds are raised: less may arrive than is coded.
    """

    def __init__(self, schedules: Mapping[Population, Schedule]) -> None:
        self.arrives = {p: torch.tensor(spike_response(s)[0]) for p, s in schedules.items()}

    def arrived(self, codes: Tensor, population: Population) -> Tensor:
        """What of codes arrives at synapses: the sum of each neuron's weighted spikes."""
        table = self.arrives.get(population)
        return codes if table is None else table[codes + CODE.maximum]

    def rows(self, codes: Tensor, rows: Tensor, population: Population) -> Tensor:
        """codes (..., n) in +-127 fired into rows (..., n, outputs) in +-127 -> (..., outputs)."""
        kind = exact_type(codes.shape[-1] * (CODE.maximum + 1) * CODE.maximum)
        return (self.arrived(codes, population).to(kind) @ rows.to(kind)).to(torch.int64)

    def modulate(self, codes: Tensor, operand: Tensor, population: Population | None) -> Tensor:
        """codes fired onto operands of the vector format, one by one; None: all arrives."""
        return (codes if population is None else self.arrived(codes, population)) * operand


class InTime:
    """The same sums, formed by firing schedules step by step; counts the spikes it fired.

    Args:
        schedule: of the populations that have none of their own.
        schedules: of those that have.
    """

    def __init__(self, schedule: Schedule,
                 schedules: Mapping[Population, Schedule] | None = None) -> None:
        self.schedule, self.schedules, self.fired = schedule, schedules or {}, 0

    def _steps(self, codes: Tensor, population: Population | None):
        potential = codes.clone()
        for entry in self.schedules.get(population, self.schedule).steps:
            potential, sign = neuron_step(potential, codes, entry)
            if sign.any():                      # a silent step adds nothing
                self.fired += int(torch.count_nonzero(sign))
                yield sign, entry.amplitude

    def rows(self, codes: Tensor, rows: Tensor, population: Population) -> Tensor:
        """As `AtOnce.rows`: each step adds and subtracts rows, shifted by its amplitude."""
        kind = exact_type(codes.shape[-1] * CODE.maximum)      # one step's sum of signed rows
        total = torch.zeros((*codes.shape[:-1], rows.shape[-1]), dtype=torch.int64)
        for sign, amplitude in self._steps(codes, population):
            total += (sign.to(kind) @ rows.to(kind)).to(torch.int64) << amplitude
        return total

    def modulate(self, codes: Tensor, operand: Tensor, population: Population | None) -> Tensor:
        """As `AtOnce.modulate`: each spike adds or subtracts a shifted copy of its operand."""
        total = torch.zeros(torch.broadcast_shapes(codes.shape, operand.shape), dtype=torch.int64)
        for sign, amplitude in self._steps(codes, population):
            total += torch.where(sign > 0, operand, torch.where(sign < 0, -operand, 0)) << amplitude
        return total
