"""Stage 3's rules against plain restatements, neuron by neuron and synapse by synapse."""

import math
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from golden.checkpoints.checkpoint import random_checkpoint
from golden.checkpoints.config import ModelConfig
from golden.quantisation.network import QuantisedNetwork
from golden.quantisation.responses import Responses
from golden.training.ablation import OPTIONAL, variants
from golden.training.measure import measure
from golden.training.plasticity import (
    GlobalSignal,
    Rules,
    mean_over_projections,
    neuron_rule,
    penalty,
    synapse_rule,
    synapses,
)
from golden.training.plasticity_stage import train_plasticity
from isa.errors import SpikeletError
from isa.schedule import EXACT_THRESHOLDS, Population
from tests.golden.training import learnable, settings, trained
from tests.seeds import seed

TINY = ModelConfig(dim=8, hidden=10, layers=2, heads=2, kv_heads=1, head_dim=4, vocab=20,
                   context=16)
# The population that fires into each operator, and how many projections the operator is.
INTO = {"qkv": (Population.qkv, 3), "out": (Population.out, 1), "gate": (Population.gated, 1),
        "up": (Population.gated, 1), "down": (Population.down, 1), "logits": (Population.head, 1)}
OFF = Rules(lambda_neuron=0.0)


def ids() -> torch.Tensor:
    return torch.tensor(np.random.default_rng(seed()).integers(0, TINY.vocab, (2, 7)))


def network(base: float = 4.0) -> QuantisedNetwork:
    """A random model whose populations fire under thresholds that differ."""
    model = QuantisedNetwork(random_checkpoint(TINY, seed()))
    model.responses = Responses()
    with torch.no_grad():
        model.responses.base += base * torch.arange(1, 6) / 5
    return model.requires_grad_(True).train()


def fire(model: QuantisedNetwork):
    """What the populations fired, and each linear map's codes and results."""
    seen = []
    _, fired = model.train_step(ids(), lambda name, code, y: seen.append((name, code.detach(),
                                                                         y.detach())))
    return fired, seen


def plain_spikes(code: int, theta) -> list[tuple[int, int]]:
    """(phase, weighted spike) of one neuron, phase by phase."""
    spikes, potential = [], code
    for step, threshold in enumerate(theta):
        if abs(potential) >= threshold:
            spikes.append((step, int(math.copysign(1 << (7 - step), potential))))
            potential -= spikes[-1][1]
    return spikes


def plain_mean(model: QuantisedNetwork, seen, of_neuron) -> float:
    """A quantity's mean over neurons, then over q, k, v, o, gate, up, down of layers, and head."""
    theta, means = model.responses.integers(), []
    for name, codes, _ in seen:
        population, projections = INTO[name.rpartition(".")[2]]
        real = model.responses.theta(population).detach()
        values = [of_neuron(int(code), theta[population], real) for code in codes.flatten()]
        means += [sum(values) / len(values)] * projections
    assert len(means) == 7 * TINY.layers + 1
    return sum(means) / len(means)


def spikes_of(code, theta, real) -> int:
    return len(plain_spikes(code, theta))


def left_of(code, theta, real) -> int:
    return abs(code - sum(value for _, value in plain_spikes(code, theta)))


def first_of(code, theta, real) -> float:
    """Expected phase of the first spike: sum over t of t P(t) prod_{k<t} (1 - P(k)), 8: none."""
    expected, silent = 0.0, 1.0
    for t in range(8):
        p = 1 / (1 + math.exp(-(abs(code) + 0.5 - float(real[t])) / 2 ** (7 - t)))
        expected, silent = expected + t * p * silent, silent * (1 - p)
    return expected + 8 * silent


def test_means_over_projections():
    model = network()
    fired, seen = fire(model)
    for value, of_neuron in (("spikes", spikes_of), ("potential", left_of),
                             ("first_spike", first_of)):
        wanted = plain_mean(model, seen, of_neuron)
        found = float(mean_over_projections(fired, value).detach())
        assert found == pytest.approx(wanted, rel=1e-4)
    assert plain_mean(model, seen, left_of) > 1     # raised thresholds leave something


@pytest.mark.parametrize("name", ["neuron", "potential", "time", "C"])
def test_terms_of_the_loss(name):
    model = network()
    fired, seen = fire(model)
    rules = replace(OFF, S_target=1.0, V_target=0.5, T_target=3.0, C=0.3, **{f"lambda_{name}": 0.7})
    if name == "C":
        sums = [float(row.sum()) - rules.C for _, w in synapses(model) for row in w.detach()]
        distance = sum(s * s for s in sums) / len(sums)
    else:
        of_neuron, target = {"neuron": (spikes_of, 1.0), "potential": (left_of, 0.5),
                             "time": (first_of, 3.0)}[name]
        distance = (plain_mean(model, seen, of_neuron) - target) ** 2
    value = penalty(rules, fired, model)
    assert float(value.detach()) == pytest.approx(0.7 * distance, rel=1e-4)
    value.backward()
    owners = [p for _, p in synapses(model)] if name == "C" else [model.responses.base]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in owners)


def test_no_terms_no_loss():
    model = network()
    assert float(penalty(OFF, fire(model)[0], model)) == 0


def test_global_signal():
    signal, losses = GlobalSignal(beta=2.0, window=3), [3.0, 2.0, 4.0, 4.0, 1.0, 1.0, 1.0]
    for n, loss in enumerate(losses):
        window = losses[max(0, n - 2):n + 1]
        wanted = 1 / (1 + math.exp(-2.0 * (sum(window) / len(window) - loss)))
        assert signal(loss) == pytest.approx(wanted, rel=1e-5)
        assert 0 < wanted < 1
    assert signal(0.5) > 0.5 > signal(9.0)      # better and worse than of late


@pytest.mark.parametrize("G", [0.1, 0.9])
@pytest.mark.parametrize("above", [0.5, -0.5])
def test_neuron_rule_moves_theta_base(G, above):
    """More spikes than the target raise the thresholds of all populations, fewer lower them, by
    the projections that each fires into: with L layers 3 L, L, 2 L, L and 1."""
    model = network()
    fired, seen = fire(model)
    before = model.responses.base.detach().clone()
    spikes = plain_mean(model, seen, spikes_of)
    neuron_rule(replace(OFF, S_target=spikes - above, eta_theta=0.1), fired, model, G)
    moved = model.responses.base.detach() - before
    layers = TINY.layers
    projections = {Population.qkv: 3 * layers, Population.out: layers, Population.gated: 2 * layers,
                   Population.down: layers, Population.head: 1}
    mean = sum(projections.values()) / 5
    expected = [0.1 * G * above * projections[p] / mean for p in model.responses.index]
    assert moved.tolist() == pytest.approx(expected, rel=1e-3)
    assert torch.equal(model.responses.alpha.detach(), Responses().alpha.detach())


def test_neuron_rule_moves_alpha():
    """Too much left in the membrane lowers alpha, but never below the exact thresholds."""
    model = network()
    fired, seen = fire(model)
    left = plain_mean(model, seen, left_of)
    with torch.no_grad():
        model.responses.alpha.fill_(1.0)
    rules = replace(OFF, eta_theta=0.0, eta_alpha=0.2, V_target=left - 3)
    neuron_rule(rules, fired, model, 0.8)
    assert model.responses.alpha.tolist() == pytest.approx([1 - 0.2 * 0.8 * 3 / 127] * 5, rel=1e-4)
    neuron_rule(replace(rules, eta_alpha=1e4, eta_theta=1e4, S_target=8.0), fired, model, 0.8)
    assert model.responses.alpha.tolist() == pytest.approx([2 / 3] * 5)
    assert model.responses.base.tolist() == [0.5] * 5


def plain_first(magnitude: float) -> int | None:
    return next((step for step, t in enumerate(EXACT_THRESHOLDS) if magnitude >= t), None)


def test_synapse_rule():
    """w += eta_w G tag (delta - w), each synapse by itself and each token by itself."""
    model = network()
    rules = Rules(eta_w=0.3, A_plus=0.2, A_minus=0.3, tau=1.7)
    G, loss = 0.7, 1.1
    _, seen = fire(model)
    before = {name: w.detach().clone() for name, w in synapses(model)}
    head = model.head.weight.detach().clone()
    synapse_rule(rules, model, ids(), G, loss)
    leaves = {"qkv": ("wq", "wk", "wv"), "out": ("wo",), "gate": ("w_gate",), "up": ("w_up",),
              "down": ("w_down",)}
    done, active = set(), set()
    for operator, codes, results in seen:
        path, _, short = operator.rpartition(".")
        if short == "logits":
            continue
        pre = [[plain_first(abs(int(q))) for q in token] for token in codes.flatten(0, 1)]
        post = []
        for token in results.flatten(0, 1).tolist():
            unit = 2.0 ** (math.floor(math.log2(max(map(abs, token)))) - 6)
            post.append([plain_first(min(127, round(abs(y) / unit))) for y in token])
        tokens = len(pre)
        names = [(f"{path}.{leaf}.weight", row) for leaf in leaves[short]
                 for row in range(len(before[f"{path}.{leaf}.weight"]))]
        for i, (name, row) in enumerate(names):
            done.add(name)
            for j in range(codes.shape[-1]):
                delta = 0.0
                for t in range(tokens):
                    if pre[t][j] is None or post[t][i] is None:
                        continue
                    dt = post[t][i] - pre[t][j]
                    active.add(dt)
                    delta += (rules.A_plus * math.exp(-dt / rules.tau) if dt > 0
                              else -rules.A_minus * math.exp(dt / rules.tau)) / tokens
                share = sum((p[j] is not None) / tokens for p in pre) + sum(
                    (p[i] is not None) / tokens for p in post)
                tag = 1 / (1 + math.exp(-(share - loss)))
                w = float(before[name][row, j])
                wanted = w + rules.eta_w * G * tag * (delta - w)
                found = float(dict(synapses(model))[name][row, j].detach())
                assert found == pytest.approx(wanted, abs=2e-6), (name, row, j)
    assert done == set(before) and len(done) == 7 * TINY.layers
    assert min(active) < -2 and max(active) > 2
    assert torch.equal(model.head.weight.detach(), head)


# The stage


def test_fewer_spikes_at_nearly_the_same_quality(tmp_path):
    start = trained()
    windows = learnable()
    before = measure(QuantisedNetwork(start), windows, 4)
    rules = Rules(S_target=before.spikes - 0.6, eta_theta=0.2, lambda_neuron=0.5)
    run = settings(60, rate=0.01, neuron_rate=0.02, distil=0.5)
    checkpoint, _ = train_plasticity(start, windows, run, rules, tmp_path)
    after = measure(QuantisedNetwork(checkpoint), windows, 4)
    assert after.spikes < before.spikes - 0.4
    assert after.perplexity < before.perplexity * 1.1
    assert set(checkpoint.thresholds) == set(Responses().index)
    assert any(t != EXACT_THRESHOLDS for t in checkpoint.thresholds.values())
    # It goes on from what it is, and without rules the thresholds stay.
    again, _ = train_plasticity(checkpoint, windows, settings(2), replace(OFF, eta_theta=0.0),
                                tmp_path / "again")
    assert again.thresholds == checkpoint.thresholds


def test_held_thresholds_fire_as_others_do():
    """Logits, spikes and gradients are the same; thresholds move when they are held anew."""
    model = network()
    rules = Rules(S_target=0.5, lambda_neuron=0.3)

    def step():
        model.zero_grad()
        logits, fired = model.train_step(ids())
        (logits.square().mean() + penalty(rules, fired, model)).backward()
        return (logits.detach(), torch.stack([f.spikes for f in fired]).detach(),
                [p.grad.clone() for p in (*model.responses.parameters(),
                                          *(p for _, p in synapses(model)))])

    wanted = step()
    model.responses.hold()
    found = step()
    torch.testing.assert_close(found, wanted)
    with torch.no_grad():
        model.responses.base += 3
    torch.testing.assert_close(step()[0], wanted[0])
    model.responses.hold()
    again = step()
    assert again[1].sum() < wanted[1].sum()
    model.responses.held = None
    torch.testing.assert_close(again, step())


@pytest.mark.parametrize("terms, named", [
    ({"lambda_time": 0.1}, "lambda_time"),
    ({"eta_w": 0.1, "eta_alpha": 0.1}, "eta_alpha, eta_w"),
])
def test_compiled_is_the_task_and_spikes_alone(tmp_path, terms, named):
    with pytest.raises(SpikeletError, match=f"--compiled is without {named}: "):
        train_plasticity(random_checkpoint(TINY, seed()), learnable(),
                         settings(2), Rules(**terms), tmp_path, compiled=True)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++")) is None, reason="no C++ compiler")
def test_compiled_steps_are_the_same(tmp_path):
    """A compiled run and one that is not, thresholds by the local rule in both."""
    start, rules = trained(), Rules(S_target=0.5, lambda_neuron=0.3)
    plain, compiled = (train_plasticity(start, learnable(), settings(4, neuron_rate=0.02), rules,
                                        tmp_path / name, compiled=name == "compiled")[0]
                       for name in ("plain", "compiled"))
    assert plain.thresholds == compiled.thresholds
    for name in start.config.weight_shapes():
        np.testing.assert_allclose(plain.weights[name], compiled.weights[name], atol=1e-4)


def test_measure_leaves_the_model_as_it_is():
    model = QuantisedNetwork(trained())
    one, other = measure(model, learnable(), 2), measure(model, learnable(), 2)
    assert one == other and model.responses is None and not model.training
    assert 0 < one.spikes < 4 and set(one.by_population) == {str(p) for p in Responses().index}
    weights = {"qkv": 3, "out": 1, "gated": 2, "down": 1, "head": 1}    # one layer
    assert one.spikes == pytest.approx(
        sum(w * one.by_population[p] for p, w in weights.items()) / 8, rel=1e-5)


def test_variants_of_the_ablation():
    rows = variants(settings(9, neuron_rate=0.02, distil=0.5), Rules(eta_w=1.0, lambda_time=1.0))
    assert len({name for name, _, _ in rows}) == len(rows) == len(OPTIONAL) + 5
    base = rows[0][2]
    assert (base.eta_w, base.lambda_time, base.eta_alpha, base.lambda_potential) == (0, 0, 0, 0)
    changed = [{f for f in vars(base) if getattr(base, f) != getattr(rules, f)}
               for _, _, rules in rows[1:]]
    assert changed == [{next(iter(terms))} for terms in OPTIONAL.values()] + [
        {"eta_theta"}, {"lambda_neuron"}, set(), {"eta_theta", "lambda_neuron"}]
    assert [s.distil for _, s, _ in rows].count(0.0) == 1 and rows[-1][1].neuron_rate == 0
