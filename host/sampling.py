"""Sampling of a token on the host, from the device's integer logits."""

import numpy as np

from isa.errors import SpikeletError


class Sampler:
    """Temperature, top-k and top-p (nucleus) sampling.

    The same seed and the same logits give the same tokens.

    Args:
        fraction: fraction bits of the logits.
        temperature: divides the logits; above 0.
        top_k: keep the k most likely tokens; 0 keeps all.
        top_p: keep the smallest set of most likely tokens with a total probability of at least
            top_p, 0 < top_p <= 1.
        seed: of the random generator.

    Raises:
        SpikeletError: an argument is out of its range.
    """

    def __init__(self, fraction: int, temperature: float, top_k: int = 0, top_p: float = 1.0,
                 seed: int = 0) -> None:
        if not (np.isfinite(temperature) and temperature > 0):
            raise SpikeletError(f"the temperature is {temperature:g}: give a number above 0, or 0 "
                                "for greedy generation on the device")
        if top_k < 0:
            raise SpikeletError(f"top-k is {top_k}: give at least 1, or 0 to keep every token")
        if not 0 < top_p <= 1:
            raise SpikeletError(f"top-p is {top_p:g}: give a number above 0, at most 1")
        if seed < 0:
            raise SpikeletError(f"the seed is {seed}: give 0 or more")
        self._scale = 2.0**-fraction / temperature
        self._top_k, self._top_p = top_k, top_p
        self._random = np.random.default_rng(seed)

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """(vocab,) integer logits -> (vocab,) probabilities after temperature, top-k and top-p."""
        scaled = np.asarray(logits, dtype=np.float64) * self._scale
        p = np.exp(scaled - scaled.max())
        order = np.argsort(-p, kind="stable")  # the lowest of equal tokens first, as argmax
        if self._top_k:
            p[order[self._top_k :]] = 0.0
        p /= p.sum()
        if self._top_p < 1:
            # A token stays if those before it do not reach top_p, so the first always stays.
            before = np.cumsum(p[order]) - p[order]
            p[order[before >= self._top_p]] = 0.0
            p /= p.sum()
        return p

    def __call__(self, logits: np.ndarray) -> int:
        """Draws one token."""
        cumulative = np.cumsum(self.probabilities(logits))
        draw = self._random.random() * cumulative[-1]
        return int(np.searchsorted(cumulative, draw, side="right"))
