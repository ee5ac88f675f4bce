"""Stage 3's rules: plasticity under a global task signal (BrainTransformers, section on training).

Neurons: theta_base and alpha of each population follow the task's gradient, and are pulled towards
S_target spikes a neuron and V_target left in the membrane. Synapses: a local rule by the order of
first spikes, gated by tags. Both rules are scaled by G, the global signal, which says how well the
task goes.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import nn

from golden.decoder import MAPS
from golden.quantisation.network import QuantisedNetwork
from golden.quantisation.responses import AMPLITUDES, TRAINED, Fired
from golden.quantisation.straight_through import code_scale
from isa.formats import CODE, CODE_PHASES
from isa.schedule import EXACT_THRESHOLDS, Population

MATRICES = {population: sum(len(m.weights) for m in MAPS.values() if m.population is population)
            for population in TRAINED}
"""How many of the checkpoint's matrices each population fires into: q, k and v are three."""


@dataclass(frozen=True)
class Rules:
    """Constants of the rules, named as in the paper's configuration; 0 switches a term off.

    Args:
        S_target: signed spikes a neuron, mean over projections (per 8 phases).
        V_target: mean magnitude left in the membrane, in units of the spike code.
        T_target: expected phase of the first spike, 0..8.
        eta_theta: rate of theta_base towards S_target, by the local rule.
        eta_alpha: rate of alpha towards V_target, by the local rule.
        eta_w: rate of the local rule for synapses, which is applied every `every` steps.
        A_plus, A_minus, tau: the spike-timing window; tau in phases.
        beta, W: slope and window of the global signal.
        C: sum of a neuron's weights.
        lambda_*: weights of the loss terms.
    """

    S_target: float = 1.25
    V_target: float = 2.0
    T_target: float = 4.0
    eta_theta: float = 0.2
    eta_alpha: float = 0.0
    eta_w: float = 0.0
    every: int = 10
    A_plus: float = 0.1
    A_minus: float = 0.12
    tau: float = 2.0
    beta: float = 0.1
    W: int = 100
    C: float = 0.0
    lambda_task: float = 1.0
    lambda_neuron: float = 0.1
    lambda_potential: float = 0.0
    lambda_time: float = 0.0
    lambda_C: float = 0.0

    def without(self, *terms: str) -> "Rules":
        """The same rules with these terms switched off."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return Rules(**values | dict.fromkeys(terms, 0.0))


class GlobalSignal:
    """G = sigmoid(beta (mean of the last W losses - loss)): above 1/2 when the task goes well."""

    def __init__(self, beta: float, window: int) -> None:
        self.beta, self.losses = beta, deque(maxlen=window)

    def __call__(self, loss: float) -> float:
        self.losses.append(loss)
        baseline = sum(self.losses) / len(self.losses)
        return float(torch.sigmoid(torch.tensor(self.beta * (baseline - loss))))


def mean_over_projections(fired: Sequence[Fired], value: str = "spikes") -> torch.Tensor:
    """Mean of a quantity over all projections of all layers and the head."""
    weights = [MATRICES[f.population] for f in fired]
    values = [getattr(f, value) if value != "first_spike" else f.first_spike() for f in fired]
    return sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)


def shares(fired: Sequence[Fired], populations: Iterable[Population]) -> list[float]:
    """How many matrices each population fires into, relative to the mean of the populations."""
    counts = dict.fromkeys(populations, 0)
    for f in fired:
        counts[f.population] += MATRICES[f.population]
    return [len(counts) * count / sum(counts.values()) for count in counts.values()]


def penalty(rules: Rules, fired: Sequence[Fired], model: QuantisedNetwork) -> torch.Tensor:
    """The loss terms beside the task."""
    total = torch.zeros((), device=fired[0].spikes.device)
    if rules.lambda_neuron:
        spikes = mean_over_projections(fired)
        total = total + rules.lambda_neuron * (spikes - rules.S_target).square()
    if rules.lambda_potential:
        left = mean_over_projections(fired, "potential")
        total = total + rules.lambda_potential * (left - rules.V_target).square()
    if rules.lambda_time:
        first = mean_over_projections(fired, "first_spike")
        total = total + rules.lambda_time * (first - rules.T_target).square()
    if rules.lambda_C:
        sums = [p.sum(1) - rules.C for _, p in synapses(model)]
        total = total + rules.lambda_C * torch.cat(sums).square().mean()
    return total


def synapses(model: QuantisedNetwork) -> list[tuple[str, nn.Parameter]]:
    """The matrices that local plasticity may change: those of the layers."""
    return [(name, p) for name, p in model.named_parameters()
            if p.dim() == 2 and name.startswith("layers.")]


@torch.no_grad()
def neuron_rule(rules: Rules, fired: Sequence[Fired], model: QuantisedNetwork, G: float) -> None:
    """theta_base and alpha of each population move towards S_target and V_target.

    d theta_base = eta_theta G (mean S - S_target) share. The mean is over all projections; share is
    the population's part of the projections, 1 where all populations have the same. It is small
    for the head, whose neurons are few and whose spikes are worth most.

    The paper prints the difference the other way round, so that a neuron that fires too often
    would fire more often still, and it has no shares (docs/training.md has the measurement).
    """
    spikes = float(mean_over_projections(fired))
    r = model.responses
    step = rules.eta_theta * G * (spikes - rules.S_target)
    r.base += step * torch.tensor(shares(fired, r.index), device=r.base.device)
    if rules.eta_alpha:
        left = float(mean_over_projections(fired, "potential"))
        r.alpha += rules.eta_alpha * G * (rules.V_target - left) / CODE.maximum
    r.base.clamp_(min=0.5)
    r.alpha.clamp_(min=2 / 3)


def first_steps(magnitude: torch.Tensor, theta: Sequence[float]) -> torch.Tensor:
    """Phase of each code's first spike (0..7), 8 where it is silent."""
    limits = torch.tensor(theta, device=magnitude.device)
    silent = magnitude[..., None] < limits                               # (..., 8)
    return torch.where(silent.all(-1), CODE_PHASES, silent.to(torch.int64).argmin(-1))


def timing_window(rules: Rules, device: torch.device) -> torch.Tensor:
    """delta (9, 9) by the first step of the post- and the presynaptic neuron; silence gives 0."""
    step = torch.arange(CODE_PHASES + 1, device=device, dtype=torch.float32)
    dt = step[:, None] - step[None, :]
    delta = torch.where(dt > 0, rules.A_plus * torch.exp(-dt / rules.tau),
                        -rules.A_minus * torch.exp(dt / rules.tau))
    delta[-1, :] = delta[:, -1] = 0
    return delta


@torch.no_grad()
def synapse_rule(rules: Rules, model: QuantisedNetwork, ids: torch.Tensor, G: float,
                 loss: float) -> None:
    """w += eta_w G tag (delta - w), by the order of first spikes on some windows of text.

    tag_ij = sigmoid(pre_j + post_i - loss), with pre and post the shares of the tokens at which the
    two neurons fire.
    """
    parameters, window = dict(synapses(model)), timing_window(rules, ids.device)

    def learn(name: str, code: torch.Tensor, y: torch.Tensor) -> None:
        short = name.rpartition(".")[2]
        if short == "logits":
            return
        magnitude = (y.abs() / code_scale(y)).round().clamp(max=CODE.maximum)
        before, after = (first_steps(m.flatten(0, -2), EXACT_THRESHOLDS)
                         for m in (code.abs(), magnitude))               # (N, in), (N, out)
        hot = nn.functional.one_hot
        post = hot(after, CODE_PHASES + 1).float()                       # (N, out, 9)
        pre = window[:, before].permute(1, 2, 0)                         # (N, in, 9)
        delta = torch.einsum("noa,nia->oi", post, pre) / len(before)
        active = [(steps < CODE_PHASES).float().mean(0) for steps in (before, after)]
        tag = torch.sigmoid(active[0][None, :] + active[1][:, None] - loss)
        path = name.rpartition(".")[0]
        first = 0
        for leaf in MAPS[short].weights:
            w = parameters[f"{path}.{leaf}.weight"]
            rows = slice(first, first + len(w))
            w += rules.eta_w * G * tag[rows] * (delta[rows] - w)
            first += len(w)

    model.train_step(ids, learn)


assert len(AMPLITUDES) == CODE_PHASES
