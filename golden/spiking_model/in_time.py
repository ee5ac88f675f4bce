"""Gathers: how codes become sums over rows. At once, or spike by spike in time.

`AtOnce` multiplies codes, which is what the sum of all spikes comes to; `InBytes` does so with int8
products. `InTime` runs the EI-IF neurons of a schedule step by step and adds or subtracts a row for
every spike, as the device does. All `fire` int8 codes first; what was fired goes into `rows`, or
onto operands (`modulate`), any number of times. All give the same integers; tests compare them on
whole models.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch

from golden.device.memories import spike_response
from golden.spiking_model.arithmetic import Tensor, by_code, exact_type, of_codes, saturate
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
    "out": Population.out,  # the map that gives `attended`
}  # fmt: skip


def population_of(operator: str) -> Population:
    """The population that fires into an operator or map (`layers.N.qkv`, ...)."""
    return PROJECTIONS.get(operator.rpartition(".")[2], Population.attention)


CODES = torch.arange(-CODE.maximum, CODE.maximum + 1, dtype=torch.float32)


def gathering_type(codes: Tensor) -> torch.dtype:
    """The float type that is exact for sums of codes (..., n) times n weights in +-127."""
    return exact_type(codes.shape[-1] * ARRIVED_MAXIMUM * CODE.maximum)


class AtOnce:
    """Sums of products of codes, carried by BLAS in a type in which they are exact.

    Args:
        schedules: of the populations whose thresholds are raised: less may arrive than is coded.
    """

    def __init__(self, schedules: Mapping[Population, Schedule] | None = None) -> None:
        self.arrives: dict[Population, Tensor] = {}
        for population, schedule in (schedules or {}).items():
            arrives = torch.tensor(spike_response(schedule)[0], dtype=torch.float32)
            if not torch.equal(arrives, CODES):
                self.arrives[population] = by_code(arrives)

    def held(self, rows: Tensor, population: Population) -> Tensor:
        """Rows (inputs, outputs) in +-127, int8, of a population as `rows` takes them fastest."""
        return rows.to(exact_type(len(rows) * ARRIVED_MAXIMUM * CODE.maximum)).contiguous()

    def fire(self, codes: Tensor, population: Population | None) -> Tensor:
        """What of codes (..., n) in +-127 arrives at synapses: each neuron's weighted spikes.

        None: all of it arrives.
        """
        table = self.arrives.get(population)
        return codes if table is None else of_codes(table, codes)

    def rows(self, fired: Tensor, rows: Tensor) -> Tensor:
        """What was fired (..., n) into rows (..., n, outputs) -> (..., outputs).

        Rows are in +-127, or of a type that is exact for sums of theirs.
        """
        kind = torch.promote_types(rows.dtype, gathering_type(fired))
        return fired.to(kind) @ rows.to(kind)

    def squares(self, fired: Tensor, codes: Tensor, population: Population) -> Tensor:
        """Sums (..., 1) of what was fired of codes (..., n), each onto its own code; floating."""
        kind = gathering_type(codes)
        return (fired.to(kind) * codes.to(kind)).sum(-1, keepdim=True)

    def modulate(self, fired: Tensor, operand: Tensor) -> Tensor:
        """What was fired onto operands of the vector format, one by one; floating."""
        return fired.to(operand.dtype) * operand             # much faster than of two types


def byte_product(left: Tensor, right: Tensor) -> Tensor:
    """left (m, k) @ right (k, n) of int8, in int32.

    What is below takes the strides for BLAS's as they are. Those of a single row may be any, and
    others be none that BLAS knows: it then gives wrong sums and no error.
    """
    return torch._int_mm(_for_blas(left), _for_blas(right))


def _for_blas(matrix: Tensor) -> Tensor:
    """The matrix, its rows or its columns one after the other."""
    down, across = matrix.stride()
    if (down >= matrix.shape[1]) if across == 1 else (down == 1 and across >= len(matrix)):
        return matrix
    return matrix.clone(memory_format=torch.contiguous_format)


class InBytes(AtOnce):
    """The same sums by products of int8 in int32: four times as fast as float32's, and exact.

    Of a raised threshold's code +128 may arrive, which int8 does not hold. Such populations fire
    two numbers next to each other, whose sum it is, into rows that are there twice.
    """

    def __init__(self, schedules: Mapping[Population, Schedule] | None = None) -> None:
        super().__init__(schedules)
        self.bytes: dict[Population, Tensor] = {}
        self.squared = {p: table * by_code(CODES) for p, table in self.arrives.items()}
        for population, table in self.arrives.items():
            most = table.clamp(-CODE.maximum, CODE.maximum)
            pairs = torch.stack((most, table - most), -1).to(torch.int8)         # (256, 2)
            self.bytes[population] = (pairs.view(torch.int16)[:, 0] if pairs[:, 1].any()
                                      else pairs[:, 0].contiguous())

    def held(self, rows: Tensor, population: Population) -> Tensor:
        """As `AtOnce.held`."""
        table = self.bytes.get(population)
        return rows if table is None or table.dtype == torch.int8 else rows.repeat_interleave(2, 0)

    def fire(self, codes: Tensor, population: Population | None) -> Tensor:
        """As `AtOnce.fire`, int8; (..., 2 n) where pairs are fired."""
        table = self.bytes.get(population)
        return codes if table is None else of_codes(table, codes).view(torch.int8)

    def rows(self, fired: Tensor, rows: Tensor) -> Tensor:
        """As `AtOnce.rows`."""
        if rows.shape[-2] < fired.shape[-1]:
            rows = rows.repeat_interleave(2, -2)
        if fired.shape[-1] * ARRIVED_MAXIMUM * CODE.maximum >= 1 << 31:          # int32's end
            return super().rows(fired, rows)
        if fired.dim() == 2:
            return byte_product(fired, rows)
        sums = torch.empty((*fired.shape[:-1], rows.shape[-1]), dtype=gathering_type(fired))
        for left, right, to in zip(fired.unbind(), rows.unbind(), sums.unbind(), strict=True):
            to.copy_(byte_product(left, right))
        return sums

    def squares(self, fired: Tensor, codes: Tensor, population: Population) -> Tensor:
        """As `AtOnce.squares`."""
        table = self.squared.get(population)
        if table is None:
            return super().squares(fired, codes, population)
        return of_codes(table, codes).sum(-1, keepdim=True, dtype=gathering_type(codes))


def at_once(schedules: Mapping[Population, Schedule] | None = None) -> AtOnce:
    """The faster of the two. Without VNNI, int8 products may saturate on the way, and are slow."""
    return (InBytes if torch.cpu._is_vnni_supported() else AtOnce)(schedules)


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

    held = AtOnce.held

    def rows(self, fired: Volley, rows: Tensor) -> Tensor:
        """As `AtOnce.rows`: each step adds and subtracts rows, shifted by its amplitude."""
        kind = torch.promote_types(rows.dtype, gathering_type(fired.codes))
        total = torch.zeros((*fired.codes.shape[:-1], rows.shape[-1]), dtype=kind)
        for sign, amplitude in fired.steps:
            total += (sign.to(kind) @ rows.to(kind)) * 2**amplitude
        return total

    def squares(self, fired: Volley, codes: Tensor, population: Population) -> Tensor:
        """As `AtOnce.squares`."""
        return self.modulate(fired, codes.to(torch.float64)).sum(-1, keepdim=True)

    def modulate(self, fired: Volley, operand: Tensor) -> Tensor:
        """As `AtOnce.modulate`: each spike adds or subtracts a shifted copy of its operand."""
        total = torch.zeros_like(fired.codes * operand)
        for sign, amplitude in fired.steps:
            spikes = torch.where(sign > 0, operand, torch.where(sign < 0, -operand, 0))
            total += spikes * 2**amplitude
        return total
