"""What arrives of a spike code under raised thresholds, and how that changes with the thresholds.

A neuron's spikes depend on its code alone, so everything is a table over the 255 codes: the sum of
its weighted spikes, their number, and the slopes of both with respect to each threshold. A slope is
the exact difference over a window around the threshold (a rectangular surrogate gradient that sees
what later phases make good again).
"""

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import torch
from torch import nn

from isa.formats import CODE, CODE_PHASES
from isa.schedule import EXACT_THRESHOLDS, Population

Tensor = torch.Tensor
CODES = np.arange(-CODE.maximum, CODE.maximum + 1)
MINIMUM = np.array(EXACT_THRESHOLDS, dtype=np.float64)


@cache
def response(thresholds: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(sum of weighted spikes, number of spikes) of the codes -127..127, int64 (255,) each."""
    potential, total = CODES.copy(), np.zeros_like(CODES)
    count = np.zeros_like(CODES)
    for amplitude, threshold in zip(reversed(range(CODE_PHASES)), thresholds, strict=True):
        sign = np.where(np.abs(potential) >= threshold, np.sign(potential), 0)
        potential = potential - (sign << amplitude)
        total += sign << amplitude
        count += np.abs(sign)
    return total, count


def integer_thresholds(values: Sequence[float]) -> tuple[int, ...]:
    """Trained thresholds as the device has them: rounded, never below the exact ones."""
    return tuple(int(t) for t in np.maximum(np.round(values), MINIMUM))


def _window(k: int) -> int:
    """Half the width of the surrogate's window around the threshold of phase k."""
    return max(1, (1 << k) // 4)


class _Fire(torch.autograd.Function):
    """Table look-ups forward; straight-through to x and table slopes to the thresholds backward."""

    @staticmethod
    def forward(ctx, x, theta, index, total, count, slopes):
        ctx.save_for_backward(index, *slopes)
        return total[index], count[index].mean()

    @staticmethod
    def backward(ctx, of_total, of_count):
        index, total_by_theta, count_by_theta, count_by_code = ctx.saved_tensors
        flat = index.flatten()
        mass = torch.bincount(flat, of_total.flatten(), minlength=len(CODES)).to(of_total.dtype)
        number = torch.bincount(flat, minlength=len(CODES)).to(of_total.dtype) / flat.numel()
        theta = total_by_theta @ mass + of_count * (count_by_theta @ number)
        x = of_total + of_count / flat.numel() * count_by_code[index]
        return x, theta, None, None, None, None


class Responses(nn.Module):
    """Trainable thresholds (phases 7..0) of some populations."""

    def __init__(self, thresholds: Mapping[Population, Sequence[float]]) -> None:
        super().__init__()
        self.thresholds = nn.ParameterDict(
            {str(p): nn.Parameter(torch.tensor(t, dtype=torch.float32))
             for p, t in thresholds.items()})
        self._tables: dict[str, tuple] = {}

    def integers(self) -> dict[Population, tuple[int, ...]]:
        """The thresholds that the device gets."""
        return {Population(p): integer_thresholds(t.detach().cpu().numpy())
                for p, t in self.thresholds.items()}

    def _table(self, population: str, device: torch.device) -> tuple[Tensor, Tensor, list[Tensor]]:
        theta = integer_thresholds(self.thresholds[population].detach().cpu().numpy())
        kept = self._tables.get(population)
        if kept is None or kept[0] != theta:
            total, count = response(theta)
            by_theta = [[], []]
            for i, k in enumerate(reversed(range(CODE_PHASES))):
                w = _window(k)
                low, high = (response((*theta[:i], max(1, theta[i] + d), *theta[i + 1:]))
                             for d in (-w, w))
                for slopes, a, b in zip(by_theta, low, high, strict=True):
                    slopes.append((b - a) / (2 * w))
            # How the number of spikes grows with the code, over a window of a quarter of the code.
            smooth = []
            for q in CODES:
                w = max(4, abs(int(q)) // 4)
                ends = np.clip([q - w, q + w], -CODE.maximum, CODE.maximum)
                a, b = (count[max(0, e + 127 - w):e + 127 + w + 1].mean() for e in ends)
                smooth.append((b - a) / (ends[1] - ends[0]))
            tensors = [torch.tensor(np.array(t), dtype=torch.float32, device=device)
                       for t in (total, count, *by_theta, smooth)]
            kept = self._tables[population] = (theta, tensors[0], tensors[1], tensors[2:])
        return kept[1:]

    def fire(self, x: Tensor, q: Tensor, population: Population) -> tuple[Tensor, Tensor]:
        """(what arrives of codes q, mean number of spikes a neuron); x is q before rounding."""
        total, count, slopes = self._table(str(population), x.device)
        index = (q + CODE.maximum).to(torch.int64)
        return _Fire.apply(x, self.thresholds[str(population)], index, total, count, slopes)
