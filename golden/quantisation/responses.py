"""What arrives of a spike code under raised thresholds, and how that changes with the thresholds.

A neuron's spikes depend on its code alone, so everything is a table over the 255 codes: the sum of
its weighted spikes, their number, and the slope of both by each threshold. A slope is the exact
difference over a window around the threshold: a rectangular surrogate gradient, which takes into
account what later phases make good again.

The threshold of phase k is theta_base + alpha * 2**k, the paper's theta_base + alpha * t with the
spike's amplitude in place of time; 1/2 and 2/3 are the non-adjacent form, in which all arrives.
"""

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from golden.units.neuron import sums_and_counts
from isa.formats import CODE, CODE_PHASES, POTENTIAL
from isa.schedule import EXACT_THRESHOLDS, Population, Reset, Step

CODES = np.arange(-CODE.maximum, CODE.maximum + 1)
AMPLITUDES = tuple(reversed(range(CODE_PHASES)))  # exponents, in the order of the phases
EXACT = (0.5, 2 / 3)  # theta_base and alpha of the non-adjacent form
TRAINED = (Population.qkv, Population.out, Population.gated, Population.down, Population.head)


@cache
def response(thresholds: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(sum of weighted spikes, number of spikes) of the codes -127..127, int64 (255,) each."""
    steps = [Step(min(threshold, POTENTIAL.maximum), amplitude, reset=Reset.SOFT)
             for amplitude, threshold in zip(AMPLITUDES, thresholds, strict=True)]
    return sums_and_counts(CODES, steps)


def integer_thresholds(values: Sequence[float]) -> tuple[int, ...]:
    """Trained thresholds as the device has them: rounded, never below the exact ones."""
    return tuple(int(t) for t in np.maximum(np.round(values), EXACT_THRESHOLDS))


def fit_parameters(thresholds: Sequence[int]) -> tuple[float, float]:
    """theta_base and alpha that give thresholds nearest these, by least squares over phases."""
    amplitude = np.array([2.0**k for k in AMPLITUDES])
    weight = 1 / amplitude
    columns = np.stack([np.ones_like(amplitude), amplitude], 1) * weight[:, None]
    base, alpha = np.linalg.lstsq(columns, np.asarray(thresholds) * weight, rcond=None)[0]
    return float(base), float(alpha)


class Slopes:
    """Tables of one population's integer thresholds, as float32 tensors.

    total, count (255,): sum and number of a code's spikes. total_by_theta, count_by_theta (8, 255):
    their slopes by each threshold; count_by_code (255,): that of count by the code. left (255,),
    left_by_theta (8, 255): the magnitude of what stays in the membrane, and its slopes.
    """

    def __init__(self, theta: tuple[int, ...], device: torch.device) -> None:
        self.theta = theta
        total, count = response(theta)
        by_theta = ([], [], [])
        for i, k in enumerate(AMPLITUDES):
            w = max(1, (1 << k) // 4)  # half the surrogate's window
            ends = [response((*theta[:i], max(1, theta[i] + d), *theta[i + 1:])) for d in (-w, w)]
            low, high = ([t, n, np.abs(CODES - t)] for t, n in ends)
            for slopes, a, b in zip(by_theta, low, high, strict=True):
                slopes.append((b - a) / (2 * w))
        by_code = []
        for q in CODES:  # over a window of a quarter of the code
            w = max(4, abs(int(q)) // 4)
            ends = np.clip([q - w, q + w], -CODE.maximum, CODE.maximum)
            a, b = (count[max(0, e + 127 - w):e + 127 + w + 1].mean() for e in ends)
            by_code.append((b - a) / (ends[1] - ends[0]))

        def tensor(values) -> Tensor:
            return torch.tensor(np.array(values), dtype=torch.float32, device=device)

        self.total, self.count, self.left = (tensor(t) for t in
                                             (total, count, np.abs(CODES - total)))
        self.total_by_theta, self.count_by_theta, self.left_by_theta = map(tensor, by_theta)
        self.count_by_code = tensor(by_code)


class _Fire(torch.autograd.Function):
    """Forward, looks up what arrives. Backward, the gradient passes straight through to x, and
    reaches the thresholds by the tables' slopes."""

    @staticmethod
    def forward(ctx, x, theta, index, slopes):
        ctx.save_for_backward(index)
        ctx.slopes = slopes
        return slopes.total[index], slopes.count[index].mean()

    @staticmethod
    def backward(ctx, of_total, of_count):
        index, = ctx.saved_tensors
        flat, s = index.flatten(), ctx.slopes
        mass = torch.bincount(flat, of_total.flatten(), minlength=len(CODES)).to(of_total.dtype)
        number = torch.bincount(flat, minlength=len(CODES)).to(of_total.dtype) / flat.numel()
        theta = s.total_by_theta @ mass + of_count * (s.count_by_theta @ number)
        x = of_total + of_count / flat.numel() * s.count_by_code[index]
        return x, theta, None, None


class Fired:
    """Mean spikes of one firing of a population."""

    def __init__(self, population: Population, spikes: Tensor) -> None:
        self.population, self.spikes = population, spikes


class FiredCodes(Fired):
    """One firing with the share of each code (255,), from which potentials and times follow."""

    def __init__(self, population: Population, theta: Tensor, slopes: Slopes, share: Tensor,
                 spikes: Tensor) -> None:
        super().__init__(population, spikes)
        self.theta, self.slopes, self.share = theta, slopes, share

    @property
    def potential(self) -> Tensor:
        """Mean magnitude of what stays in the membrane, with its slope by the thresholds."""
        moved = self.theta - self.theta.detach()
        return self.slopes.left @ self.share + (self.slopes.left_by_theta @ self.share) @ moved

    def first_spike(self, smooth: float = 1.0) -> Tensor:
        """Expected step of the first spike (0..8; 8: none): sum of t P(t) prod_{k<t} (1 - P(k)).

        P(t) = sigmoid((|V| + 1/2 - theta_t) / (smooth 2**k)): codes and the device's thresholds are
        integers, half a unit above real thresholds. V is the code until the first spike.
        """
        codes = torch.arange(-CODE.maximum, CODE.maximum + 1, device=self.theta.device).abs()
        width = smooth * torch.tensor([2.0**k for k in AMPLITUDES], device=self.theta.device)
        p = torch.sigmoid((codes[:, None] + 0.5 - self.theta) / width)   # (255, 8)
        silent = torch.cumprod(1 - p, 1)
        before = torch.cat([torch.ones_like(silent[:, :1]), silent[:, :-1]], 1)
        step = torch.arange(CODE_PHASES, device=self.theta.device)
        expected = (step * p * before).sum(1) + CODE_PHASES * silent[:, -1]
        return self.share @ expected


class Responses(nn.Module):
    """Trainable neurons of some populations: theta_base and alpha of each."""

    def __init__(self, thresholds: Mapping[Population, Sequence[int]] | None = None,
                 populations: Sequence[Population] = TRAINED) -> None:
        super().__init__()
        thresholds = thresholds or {}
        pairs = [fit_parameters(thresholds[p]) if p in thresholds else EXACT for p in populations]
        self.index = {p: i for i, p in enumerate(populations)}
        self.base = nn.Parameter(torch.tensor([base for base, _ in pairs]))
        self.alpha = nn.Parameter(torch.tensor([alpha for _, alpha in pairs]))
        # The thresholds less the line through them: they were rounded, or trained elsewhere.
        rest = torch.zeros(len(populations), CODE_PHASES)
        for i, p in enumerate(populations):
            if p in thresholds:
                line = self.base[i] + self.alpha[i] * torch.tensor([2.0**k for k in AMPLITUDES])
                rest[i] = torch.tensor(thresholds[p]) - line.detach()
        self.register_buffer("rest", rest)
        self._slopes: dict[tuple[int, ...], Slopes] = {}
        self.held: Tensor | None = None

    @torch.no_grad()
    def hold(self) -> None:
        """Makes the tables of the thresholds as they are now, for `fire` until the next call.

        With held tables `fire` consists of operations that torch.compile can fuse; its results and
        gradients are the same.
        """
        amplitude = torch.tensor([2.0**k for k in AMPLITUDES], device=self.base.device)
        found = []
        for population, integers in self.integers().items():
            s = self._tables(integers)
            free = self.theta(population) > self._least()  # the others do not follow base and alpha
            by_base = [slopes[free].sum(0) for slopes in (s.total_by_theta, s.count_by_theta)]
            by_alpha = [amplitude[free] @ slopes[free]
                        for slopes in (s.total_by_theta, s.count_by_theta)]
            found.append(torch.stack([s.total, s.count, s.count_by_code, *by_base, *by_alpha]))
        tables = torch.stack(found)                                      # (populations, 7, 255)
        if self.held is None:
            self.held = tables
        else:
            self.held.copy_(tables)

    def _fire_held(self, x: Tensor, index: Tensor, population: Population) -> tuple[Tensor, Fired]:
        at = self.index[population]
        total, count, slope, *by = (table[index] for table in self.held[at])
        code, base, alpha = (z - z.detach() for z in (x, self.base[at], self.alpha[at]))  # zeros
        spikes = count + code * slope + base * by[1] + alpha * by[3]
        return total + code + base * by[0] + alpha * by[2], Fired(population, spikes.mean())

    def _least(self) -> Tensor:
        return torch.tensor(EXACT_THRESHOLDS, dtype=torch.float32, device=self.base.device)

    def _tables(self, integers: tuple[int, ...]) -> Slopes:
        if integers not in self._slopes:
            self._slopes[integers] = Slopes(integers, self.base.device)
        return self._slopes[integers]

    def theta(self, population: Population) -> Tensor:
        """Thresholds (8,) of phases 7..0, real; never below the exact ones."""
        i, device = self.index[population], self.base.device
        amplitude = torch.tensor([2.0**k for k in AMPLITUDES], device=device)
        real = self.base[i] + self.alpha[i] * amplitude + self.rest[i]
        return torch.where(real > self._least(), real, self._least())

    def integers(self) -> dict[Population, tuple[int, ...]]:
        """The thresholds that the device gets."""
        return {p: integer_thresholds(self.theta(p).detach().cpu().numpy()) for p in self.index}

    def fire(self, x: Tensor, q: Tensor, population: Population) -> tuple[Tensor, Fired]:
        """What arrives of codes q, and what was fired; x is q before rounding."""
        index = (q + CODE.maximum).to(torch.int64)
        if self.held is not None:
            return self._fire_held(x, index, population)
        theta = self.theta(population)
        slopes = self._tables(integer_thresholds(theta.detach().cpu().numpy()))
        arrived, spikes = _Fire.apply(x, theta, index, slopes)
        share = torch.bincount(index.flatten(), minlength=len(CODES)) / index.numel()
        return arrived, FiredCodes(population, theta, slopes, share, spikes)
