"""The paper's neurons on real numbers: EI-IF, and the staircase neuron of its approximators.

Source: BrainTransformers, arXiv 2410.14687, and its released code, which clamps the potential to
the threshold after a step (the paper does not).
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class EIIF:
    """Excitatory-inhibitory integrate-and-fire neurons with a threshold that grows in time.

    theta(t) = theta_base + alpha t; V += I; a spike of V's sign where |V| >= theta(t); then
    V = clamp(V (1 - attenuation), -theta(t), theta(t)).
    """

    theta_base: float = 0.5
    alpha: float = 1.0
    attenuation: float = 1.0

    def spikes(self, current: np.ndarray) -> np.ndarray:
        """Input currents (T, ...) -> spikes -1, 0, 1 of the same shape, int8. float32 inside."""
        current = np.asarray(current, np.float32)
        potential = np.zeros(current.shape[1:], np.float32)
        keep = np.float32(1 - self.attenuation)
        spikes = np.zeros(current.shape, np.int8)
        for t, step in enumerate(current):
            theta = np.float32(self.theta_base) + np.float32(t) * np.float32(self.alpha)
            potential = potential + step
            spikes[t] = np.sign(potential) * (np.abs(potential) >= theta)
            potential = np.clip(potential * keep, -theta, theta)
        return spikes


def scale_of(x: np.ndarray, bits: int = 8) -> np.float32:
    """The one scale of a tensor, max|x| / (2^(bits-1) - 1); 1 for a tensor of zeros."""
    peak = np.abs(x).max()
    return np.float32(peak / np.float32(2 ** (bits - 1) - 1)) if peak else np.float32(1)


def code_in_time(x: np.ndarray, bits: int = 8) -> tuple[np.ndarray, np.float32]:
    """Spikes (T, ...) of default EI-IF neurons driven by x / scale for 2^(bits-1) - 1 steps.

    Returns the spikes and the scale; scale * spikes.sum(0) is x rounded, half away from zero.
    """
    x = np.asarray(x, np.float32)
    scale = scale_of(x, bits)
    steps = 2 ** (bits - 1) - 1
    return EIIF().spikes(np.broadcast_to(x / scale, (steps, *x.shape))), scale


@dataclass(frozen=True)
class Staircase:
    """CustomNeuron: V = V decay + x each step, never reset; step t has an amplitude of its own.

    It fires where V >= theta (theta > 0) or V <= theta (theta < 0), so it is a staircase in x.
    """

    theta: float
    decay: float
    steps: int

    def fires(self, x: np.ndarray) -> np.ndarray:
        """Constant inputs (n,) -> (n, steps) of bool: which amplitudes each input collects."""
        x = np.asarray(x, np.float32)
        potential, fired = np.zeros_like(x), []
        for _ in range(self.steps):
            potential = potential * np.float32(self.decay) + x
            fired.append(potential >= self.theta if self.theta > 0 else potential <= self.theta)
        return np.stack(fired, -1)
