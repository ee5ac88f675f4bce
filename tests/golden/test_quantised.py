"""The quantised model: evaluated it is the spiking model's integers, in training it is near."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from golden.checkpoints.checkpoint import Checkpoint, random_checkpoint
from golden.float_model.model import FloatModel
from golden.quantisation.network import QuantisedNetwork
from golden.quantisation.quantise import quantise
from golden.quantisation.responses import TRAINED, Responses, integer_thresholds, response
from golden.spiking_model import loaded
from golden.spiking_model.in_time import AtOnce, InBytes, at_once
from golden.spiking_model.model import SpikingModel
from golden.units.neuron import total
from isa.schedule import EXACT_THRESHOLDS, Population, phase_schedule, unary_schedule
from tests.golden.models import ODD, ODD_GATE, SEED, TINY, random_ids


def raised(seed: int = SEED) -> dict[Population, tuple[int, ...]]:
    """Thresholds of every trained population, up to twice the exact ones."""
    rng = np.random.default_rng(seed)
    return {p: tuple(int(t) + int(rng.integers(t + 1)) for t in EXACT_THRESHOLDS) for p in TRAINED}


CONFIGS = pytest.mark.parametrize("config", [TINY, ODD, ODD_GATE], ids=["tiny", "odd", "gate"])


@CONFIGS
@pytest.mark.parametrize("thresholds", [{}, raised()], ids=["exact", "raised"])
@pytest.mark.parametrize("fraction", [12, 8])
def test_evaluation_is_the_spiking_model(config, thresholds, fraction):
    checkpoint = Checkpoint(config, random_checkpoint(config, SEED).weights, thresholds)
    ids = random_ids(config, 20)
    quantised = QuantisedNetwork(checkpoint, fraction)
    expected = quantised(ids)
    assert torch.equal(expected, expected.round())
    integers = quantised.integers()
    for schedule in (None, phase_schedule(), unary_schedule()):
        logits = SpikingModel(integers, schedule).forward(ids)
        assert torch.equal(logits, expected.to(torch.int64)), schedule


@CONFIGS
@pytest.mark.parametrize("phases", [None, (92, 48, 24, 12, 6, 4, 4, 4)], ids=["exact", "raised"])
def test_both_types_of_products_give_the_same(config, phases, monkeypatch):
    """int8 and floating point, with thresholds of which 128 arrives, in attention too."""
    if type(at_once()) is not InBytes:
        pytest.skip("int8 products are not exact on this processor, and not used")
    thresholds = dict.fromkeys(Population, phases) if phases else {}
    checkpoint = Checkpoint(config, random_checkpoint(config, SEED).weights, thresholds)
    ids, integers, records = random_ids(config, 20), quantise(checkpoint), ({}, {})
    for kind, record in zip((InBytes, AtOnce), records, strict=True):
        monkeypatch.setattr(loaded, "at_once", kind)
        SpikingModel(integers)(ids, record)
    assert records[0].keys() == records[1].keys()
    assert all(torch.equal(records[0][name], value) for name, value in records[1].items())


def test_raised_thresholds_change_the_integers():
    """What the test above compares is not what exact thresholds give."""
    checkpoint, ids = random_checkpoint(TINY, SEED), random_ids(TINY, 20)
    exact = QuantisedNetwork(checkpoint)(ids)
    assert not torch.equal(QuantisedNetwork(replace(checkpoint, thresholds=raised()))(ids), exact)


@CONFIGS
def test_training_is_near_evaluation(config):
    """The coarse arithmetic of training follows the integers far closer than float does not."""
    checkpoint, ids = random_checkpoint(config, SEED), random_ids(config, 20)
    model = QuantisedNetwork(checkpoint)
    exact = model(ids).to(torch.float32) * 2.0**-model.fraction
    coarse = model.train()(ids)
    real = FloatModel(checkpoint)(ids)
    assert (coarse - exact).norm() < 0.1 * real.norm()
    assert (exact - real).norm() < 0.1 * real.norm()


def test_responses_are_the_neurons():
    """Sum and number of spikes of all codes, as golden/units/neuron.py fires them."""
    for thresholds in (EXACT_THRESHOLDS, *raised().values()):
        sums, counts = response(thresholds)
        schedule = phase_schedule(thresholds)
        for code in range(-127, 128):
            wanted, count = total(np.array([code]), schedule)
            assert (sums[code + 127], counts[code + 127]) == (wanted[0], count)


def test_gradients_reach_weights_and_thresholds():
    model = QuantisedNetwork(random_checkpoint(TINY, SEED))
    model.responses = Responses()
    with torch.no_grad():
        model.responses.base += 3
    model.requires_grad_(True).train()
    ids = random_ids(TINY, 24)[None]
    logits, fired = model.train_step(ids)
    (logits.square().mean() + sum(f.spikes for f in fired)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_higher_thresholds_fire_less_and_the_slope_says_so():
    model = QuantisedNetwork(random_checkpoint(TINY, SEED))
    ids, means = random_ids(TINY, 24)[None], []
    for base in (0.5, 2.0, 5.0):
        model.responses = Responses()
        with torch.no_grad():
            model.responses.base.fill_(base)
        model.train()
        _, fired = model.train_step(ids)
        spikes = sum(f.spikes for f in fired) / len(fired)
        slope, = torch.autograd.grad(spikes, model.responses.base)
        means.append(float(spikes.detach()))
        if base == 2.0:
            assert (slope < 0).all()
    assert means[0] > means[1] > means[2]


def test_thresholds_of_the_exact_parameters():
    responses = Responses()
    assert set(responses.integers().values()) == {EXACT_THRESHOLDS}
    assert integer_thresholds([0.0] * 8) == EXACT_THRESHOLDS


def test_first_spikes_come_later_under_higher_thresholds():
    model = QuantisedNetwork(random_checkpoint(TINY, SEED)).train()
    ids, steps = random_ids(TINY, 24)[None], []
    for alpha in (2 / 3, 1.2):
        model.responses = Responses()
        with torch.no_grad():
            model.responses.alpha.fill_(alpha)
        _, fired = model.train_step(ids)
        steps.append(float(sum(f.first_spike().detach() for f in fired)) / len(fired))
        # With a sharp slope the expectation is the first phase whose threshold is reached.
        f = fired[0]
        sharp = float(f.first_spike(smooth=1e-4).detach())
        theta = integer_thresholds(f.theta.detach().numpy())
        codes = np.arange(-127, 128)
        first = [next((i for i, t in enumerate(theta) if abs(q) >= t), 8) for q in codes]
        assert sharp == pytest.approx(float(f.share @ torch.tensor(first, dtype=torch.float32)),
                                      abs=1e-3)
    assert steps[0] < steps[1]


def test_round_trip_of_the_integers():
    """What the network exports is what its checkpoint quantises to."""
    checkpoint = replace(random_checkpoint(ODD, SEED), thresholds=raised())
    network = QuantisedNetwork(checkpoint, 10)
    ours, theirs = network.integers(), quantise(checkpoint, 10)
    assert np.array_equal(ours.layers[0].qkv.weight, theirs.layers[0].qkv.weight)
    assert ours.schedules == theirs.schedules and ours.schedules
