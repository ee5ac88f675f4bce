"""The paper's operators against inputs and outputs of the released code."""

import numpy as np
import pytest

from golden.paper.neuron import EIIF, code_in_time
from golden.paper.operators import fit_silu, snn_matmul, snn_silu, snn_softmax, synapsis
from tests.shared import shared_file


@pytest.fixture(scope="module")
def vectors():
    return np.load(shared_file("vectors/braintransformers.npz"))


@pytest.mark.parametrize("case", range(5))
def test_spike_trains(vectors, case):
    theta_base, attenuation, alpha, steps = vectors[f"eiif{case}_params"]
    current = vectors[f"eiif{case}_input"]
    assert len(current) == steps
    spikes = EIIF(theta_base, alpha, attenuation).spikes(current)
    assert np.array_equal(spikes, vectors[f"eiif{case}_spikes"])


@pytest.mark.parametrize("case", range(2))
def test_synapsis(vectors, case):
    x, weight, bias, expected = (vectors[f"synapsis{case}_{name}"]
                                 for name in ("input", "weight", "bias", "output"))
    assert np.abs(synapsis(x, weight, bias) - expected).max() < 1e-6


def test_matmul(vectors):
    out = snn_matmul(vectors["matmul_q"], vectors["matmul_k"])
    assert np.abs(out - vectors["matmul_output"]).max() < 1e-4


def test_softmax(vectors):
    out = snn_softmax(vectors["softmax_input"])
    assert np.abs(out - vectors["softmax_output"]).max() < 1e-6


def test_silu_staircase(vectors):
    """Amplitudes learnt on half of the points give the other half: the steps are where they are."""
    x, y = vectors["silu_input"], vectors["silu_released_output"]
    # Where two halves of one step fall on one side only, that step's amplitude is unknown: the
    # points around each jump stay in the half that is fitted.
    jump = np.flatnonzero(np.diff(y))
    fitted = np.zeros(len(x), bool)
    fitted[::2] = True
    fitted[jump], fitted[jump + 1] = True, True
    amplitudes = fit_silu(x[fitted], y[fitted])
    assert np.abs(snn_silu(x, amplitudes) - y).max() < 1e-5
    assert (~fitted).sum() > 700


def test_code_is_rounding_half_away_from_zero():
    x = np.array([127, 0.5, -0.5, 0.49, 2.5, -126.5, 0], np.float32)
    spikes, scale = code_in_time(x)
    assert scale == 1 and spikes.shape == (127, 7)
    assert spikes.sum(0, dtype=int).tolist() == [127, 1, -1, 0, 3, -127, 0]


def test_zeros_are_silent():
    spikes, scale = code_in_time(np.zeros((2, 3), np.float32))
    assert scale == 1 and not spikes.any()
