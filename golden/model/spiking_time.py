"""Gathers: how codes become sums over rows. At once, or spike by spike in time.

`AtOnce` multiplies codes, which is what the sum of all spikes comes to. `InTime` runs the EI-IF
neurons of a schedule step by step and adds or subtracts a row for every spike, as the device does.
Both give the same integers; tests compare them on whole models.
"""

import torch

from golden.model.arithmetic import Tensor, exact_type, saturate
from isa.formats import CODE, POTENTIAL
from isa.schedule import LEAK_CLEAR, Reset, Schedule, Step


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


class AtOnce:
    """Sums of products of codes, carried by BLAS in a type in which they are exact."""

    def rows(self, codes: Tensor, rows: Tensor) -> Tensor:
        """codes (..., n) in +-127 @ rows (..., n, outputs) in +-127 -> (..., outputs), int64."""
        kind = exact_type(codes.shape[-1] * CODE.maximum * CODE.maximum)
        return (codes.to(kind) @ rows.to(kind)).to(torch.int64)

    def modulate(self, codes: Tensor, operand: Tensor) -> Tensor:
        """code * operand element by element, for operands of the vector format."""
        return codes * operand


class InTime:
    """The same sums, formed by firing a schedule step by step; counts the spikes it fired."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule, self.fired = schedule, 0

    def _steps(self, codes: Tensor):
        potential = codes.clone()
        for entry in self.schedule.steps:
            potential, sign = neuron_step(potential, codes, entry)
            if sign.any():                      # a silent step adds nothing
                self.fired += int(torch.count_nonzero(sign))
                yield sign, entry.amplitude

    def rows(self, codes: Tensor, rows: Tensor) -> Tensor:
        """As `AtOnce.rows`: each step adds and subtracts rows, shifted by its amplitude."""
        kind = exact_type(codes.shape[-1] * CODE.maximum)      # one step's sum of signed rows
        total = torch.zeros((*codes.shape[:-1], rows.shape[-1]), dtype=torch.int64)
        for sign, amplitude in self._steps(codes):
            total += (sign.to(kind) @ rows.to(kind)).to(torch.int64) << amplitude
        return total

    def modulate(self, codes: Tensor, operand: Tensor) -> Tensor:
        """As `AtOnce.modulate`: each spike adds or subtracts a shifted copy of its operand."""
        total = torch.zeros(torch.broadcast_shapes(codes.shape, operand.shape), dtype=torch.int64)
        for sign, amplitude in self._steps(codes):
            total += torch.where(sign > 0, operand, torch.where(sign < 0, -operand, 0)) << amplitude
        return total
