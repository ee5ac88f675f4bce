"""How codes are fired and rows are gathered: at once by products, or spike by spike in time.

The spikes of a code add up to what arrives of it. So `AtOnce` multiplies rows by what arrives, and
`InBytes` does the same with int8 products. `InTime` runs the EI-IF neurons of a schedule step by
step and adds or subtracts a row for every spike, as the device does.

All three work in two steps: `fire` takes int8 codes, and what it gives goes into `rows` or onto the
elements of another vector (`modulate`), any number of times. All give the same integers; tests
compare them on whole models.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from golden.spiking_model.arithmetic import by_code, exact_type, of_codes
from golden.units.neuron import spike_response, step
from isa.formats import ARRIVED_MAXIMUM, CODE
from isa.schedule import Population, Schedule

EVERY_CODE = torch.arange(-CODE.maximum, CODE.maximum + 1, dtype=torch.float32)


def gathering_type(codes: Tensor) -> torch.dtype:
    """The float type that is exact for sums of codes (..., n) times n weights in +-127."""
    return exact_type(codes.shape[-1] * ARRIVED_MAXIMUM * CODE.maximum)


class AtOnce:
    """Sums of products of codes, carried by BLAS in a type in which they are exact.

    Args:
        schedules: of populations with raised thresholds, where less may arrive than was coded.
    """

    def __init__(self, schedules: Mapping[Population, Schedule] | None = None) -> None:
        self.arrives: dict[Population, Tensor] = {}
        for population, schedule in (schedules or {}).items():
            arrives = torch.tensor(spike_response(schedule)[0], dtype=torch.float32)
            if not torch.equal(arrives, EVERY_CODE):
                self.arrives[population] = by_code(arrives)

    def held(self, rows: Tensor, population: Population) -> Tensor:
        """The form in which `rows` takes a map's int8 rows (inputs, outputs) fastest.

        `population` is the one that fires into them.
        """
        return rows.to(exact_type(len(rows) * ARRIVED_MAXIMUM * CODE.maximum)).contiguous()

    def fire(self, codes: Tensor, population: Population | None) -> Tensor:
        """What arrives of codes (..., n) at the synapses: the sum of each neuron's weighted spikes.

        Codes are -127..127. For no population (None) all of it arrives.
        """
        table = self.arrives.get(population)
        return codes if table is None else of_codes(table, codes)

    def rows(self, fired: Tensor, rows: Tensor) -> Tensor:
        """Sums (..., outputs) of what was fired (..., n), gathered from rows (..., n, outputs).

        Rows hold -127..127, in int8 or in a type that is exact for their sums.
        """
        kind = torch.promote_types(rows.dtype, gathering_type(fired))
        return fired.to(kind) @ rows.to(kind)

    def squares(self, fired: Tensor, codes: Tensor, population: Population) -> Tensor:
        """RMSNorm's sums of squares (..., 1), floating: a spike adds the code of its own neuron."""
        kind = gathering_type(codes)
        return (fired.to(kind) * codes.to(kind)).sum(-1, keepdim=True)

    def modulate(self, fired: Tensor, operand: Tensor) -> Tensor:
        """The elementwise product of what was fired with an operand of the vector format; floating.
        """
        return fired.to(operand.dtype) * operand             # a product of two types is slow


def byte_product(left: Tensor, right: Tensor) -> Tensor:
    """left (m, k) @ right (k, n) of int8, in int32.

    PyTorch hands the strides on to BLAS without a check. A matrix of one row, or a view, may have
    strides that BLAS does not know; sums would be wrong, without an error. So they are copied.
    """
    return torch._int_mm(_for_blas(left), _for_blas(right))


def _for_blas(matrix: Tensor) -> Tensor:
    """The matrix with its rows, or its columns, one after the other in memory."""
    down, across = matrix.stride()
    if (down >= matrix.shape[1]) if across == 1 else (down == 1 and across >= len(matrix)):
        return matrix
    return matrix.clone(memory_format=torch.contiguous_format)


class InBytes(AtOnce):
    """The same sums by products of int8 in int32: four times as fast as float32's, and exact.

    Under raised thresholds up to 128 may arrive of a code, which int8 does not hold. Such
    populations fire two numbers next to each other, which sum up to it, into doubled rows.
    """

    def __init__(self, schedules: Mapping[Population, Schedule] | None = None) -> None:
        super().__init__(schedules)
        self.bytes: dict[Population, Tensor] = {}
        self.squared = {p: table * by_code(EVERY_CODE) for p, table in self.arrives.items()}
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
    """The faster of the two that is exact on this processor.

    Without VNNI instructions int8 products are slow, and may saturate on the way.
    """
    return (InBytes if torch.cpu._is_vnni_supported() else AtOnce)(schedules)


class Volley(NamedTuple):
    """The spike trains of a vector: its codes, and each step's signs (-1, 0, 1) and amplitude."""

    codes: Tensor
    steps: list[tuple[Tensor, int]]


class InTime:
    """The same sums, formed by stepping the neurons; `fired` counts their spikes.

    Args:
        schedule: the one of populations without a schedule of their own.
        schedules: the others', by population.
    """

    def __init__(self, schedule: Schedule,
                 schedules: Mapping[Population, Schedule] | None = None) -> None:
        self.schedule, self.schedules, self.fired = schedule, schedules or {}, 0

    def fire(self, codes: Tensor, population: Population | None) -> Volley:
        """The spikes of codes (..., n), by step."""
        codes = potential = codes.to(torch.int64)
        volley = Volley(codes, [])
        for entry in self.schedules.get(population, self.schedule).steps:
            potential, spikes = step(potential, codes, entry)
            if spikes.sign.any():               # a silent step adds nothing
                self.fired += int(torch.count_nonzero(spikes.sign))
                volley.steps.append((spikes.sign, entry.amplitude))
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
