"""Sampling on the host."""

import numpy as np
import pytest

from host.sampling import Sampler
from isa.errors import SpikeletError
from tests.seeds import seed

FRACTION = 8


def logits(count: int = 40) -> np.ndarray:
    return np.random.default_rng(seed()).normal(0, 2 << FRACTION, count).astype(np.int64)


def softmax(values: np.ndarray) -> np.ndarray:
    p = np.exp(values - values.max())
    return p / p.sum()


def test_probabilities_are_softmax_at_the_temperature():
    x = logits()
    p = Sampler(FRACTION, 0.7).probabilities(x)
    assert np.allclose(p, softmax(x / 2**FRACTION / 0.7))


def test_top_k():
    x = logits()
    p = Sampler(FRACTION, 1.0, top_k=5).probabilities(x)
    kept = np.argsort(-x)[:5]
    assert set(np.flatnonzero(p)) == set(kept)
    assert np.allclose(p[kept], softmax(x[kept] / 2**FRACTION))


@pytest.mark.parametrize("top_p", [0.001, 0.3, 0.9])
def test_top_p_keeps_the_fewest_that_reach_it(top_p):
    x = logits()
    everything = Sampler(FRACTION, 1.0).probabilities(x)
    p = Sampler(FRACTION, 1.0, top_p=top_p).probabilities(x)
    kept = np.flatnonzero(p)
    assert everything[kept].sum() >= top_p
    assert everything[kept].sum() - everything[kept].min() < top_p
    assert everything[kept].min() >= np.delete(everything, kept).max()
    assert np.isclose(p.sum(), 1)


def test_draws_follow_the_probabilities():
    x = np.array([0, 1, 2, -1]) << FRACTION
    sampler = Sampler(FRACTION, 1.0, seed=seed())
    drawn = np.bincount([sampler(x) for _ in range(20_000)], minlength=4) / 20_000
    assert np.abs(drawn - sampler.probabilities(x)).max() < 0.02


def test_the_seed_repeats():
    def draw(number: int) -> list[int]:
        sampler = Sampler(FRACTION, 1.0, seed=number)
        return [sampler(logits()) for _ in range(20)]

    assert draw(3) == draw(3) != draw(4)


def test_a_low_temperature_is_greedy():
    x = logits()
    assert Sampler(FRACTION, 1e-3)(x) == x.argmax()


def test_equal_logits_keep_the_lowest_tokens():
    p = Sampler(FRACTION, 1.0, top_k=2).probabilities(np.array([5, 9, 9, 9]))
    assert np.flatnonzero(p).tolist() == [1, 2]


@pytest.mark.parametrize("parameters, message", [
    (dict(temperature=-1.0), "temperature is -1"),
    (dict(temperature=0.0), "temperature is 0"),
    (dict(temperature=float("nan")), "temperature is nan"),
    (dict(temperature=1.0, top_k=-1), "top-k is -1"),
    (dict(temperature=1.0, top_p=0.0), "top-p is 0"),
    (dict(temperature=1.0, top_p=1.5), "top-p is 1.5"),
    (dict(temperature=1.0, seed=-2), "seed is -2"),
])  # fmt: skip
def test_parameters_out_of_range(parameters, message):
    with pytest.raises(SpikeletError, match=message):
        Sampler(FRACTION, **parameters)
