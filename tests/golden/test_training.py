"""Stage 1 and the loop that all stages share: it learns, repeats, stops and goes on."""

import math

import numpy as np
import pytest
import torch

from golden.checkpoints.checkpoint import Checkpoint, random_checkpoint
from golden.checkpoints.config import ModelConfig
from golden.float_model.model import FloatModel
from golden.quantisation.network import QuantisedNetwork
from golden.training import plasticity_stage, quantised_stage
from golden.training.initial import untrained
from golden.training.measure import measure
from golden.training.plasticity import Rules
from golden.training.plasticity_stage import train_plasticity
from golden.training.quantised_stage import divergence, train_quantised
from golden.training.settings import optimisers
from isa.errors import SpikeletError
from tests.golden.training import SHAPE, at_call, learnable, same, settings, state, trained
from tests.seeds import seed

# G differs from 1/2, and moves synapses, in a few steps; every other step is a local one.
RULES = Rules(beta=20.0, eta_theta=0.3, eta_w=0.01, every=2)


def first(folder, steps=6, windows=None, start=None, tell=lambda fraction, stage: None, **changes):
    """A run of stage 1, half of it in float."""
    return train_quantised(start or untrained(SHAPE, seed()), windows or learnable(),
                           settings(steps, **{"float_share": 0.5} | changes), folder, tell=tell)


def third(folder, steps=6, windows=None, start=None, rules=RULES, tell=lambda *told: None,
          **changes):
    """A run of stage 3 with all its parts."""
    return train_plasticity(start or trained(), windows or learnable(),
                            settings(steps, **{"neuron_rate": 0.02, "distil": 0.5} | changes),
                            rules, folder, tell=tell)


STAGES = pytest.mark.parametrize("run, module, stage", [
    (first, quantised_stage, "quantised"), (third, plasticity_stage, "plasticity")], ids=["1", "3"])


def equal(one: Checkpoint, other: Checkpoint) -> bool:
    return one.thresholds == other.thresholds and all(
        np.array_equal(one.weights[name], other.weights[name]) for name in one.weights)


@STAGES
def test_learns(tmp_path, run, module, stage):
    start = untrained(SHAPE, seed())
    before = measure(QuantisedNetwork(start), learnable(), 2).perplexity
    checkpoint, result = run(tmp_path, 50, start=start, distil=0.0)
    after = measure(QuantisedNetwork(checkpoint), learnable(), 2).perplexity
    assert before > SHAPE.vocab * 0.8 and after < before / 3
    assert result.steps == 50 and result.tokens == 50 * 4 * 16
    assert math.log(after) < result.loss + 0.5 < math.log(before) + 1


@STAGES
def test_repeats(tmp_path, run, module, stage):
    one, other, third_ = (run(tmp_path / name, 4, seed=s)[0] for name, s in
                          (("a", 5), ("b", 5), ("c", 6)))
    assert equal(one, other) and not equal(one, third_)


@STAGES
@pytest.mark.parametrize("step", [1, 3, 4, 6])
def test_interrupt_in_a_step(tmp_path, monkeypatch, run, module, stage, step):
    """The whole state after the run is that of a run without an interrupt."""
    whole, _ = run(tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(module, "cross_entropy",
                      at_call(step, module.cross_entropy, KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "cut")
    assert state(tmp_path / "cut", stage)["step"] == step - 1
    resumed, result = run(tmp_path / "cut")
    assert result.tokens == (7 - step) * 4 * 16 and result.steps == 6
    assert equal(resumed, whole)
    assert same(state(tmp_path / "cut", stage), state(tmp_path / "whole", stage))


def test_interrupt_between_steps(tmp_path):
    whole, _ = first(tmp_path / "whole", 12)

    def tell(fraction, stage):
        assert (fraction, stage.split(",")[0]) == (10 / 12, "10/12 steps")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        first(tmp_path / "cut", 12, tell=tell)
    assert state(tmp_path / "cut", "quantised")["step"] == 10
    assert equal(first(tmp_path / "cut", 12)[0], whole)
    assert same(state(tmp_path / "cut", "quantised"), state(tmp_path / "whole", "quantised"))


@pytest.mark.parametrize("call", [1, 3])
def test_interrupt_in_an_update(tmp_path, monkeypatch, call):
    """Half an update is not kept: what was saved before is."""
    whole, _ = third(tmp_path / "whole", save_every=0.0)
    with monkeypatch.context() as patch:
        patch.setattr(plasticity_stage, "neuron_rule",
                      at_call(call, plasticity_stage.neuron_rule, KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            third(tmp_path / "cut", save_every=0.0)
    assert (tmp_path / "cut" / "plasticity.state.pt").exists() == (call > 1)
    assert equal(third(tmp_path / "cut", save_every=0.0)[0], whole)


def test_a_run_that_is_done_is_done(tmp_path):
    one, _ = first(tmp_path, 3)
    other, result = first(tmp_path, 3)
    assert equal(one, other) and (result.steps, result.tokens) == (3, 0)


def test_what_is_a_matrix_and_what_a_neuron():
    model = QuantisedNetwork(Checkpoint(SHAPE, untrained(SHAPE, 1).weights,
                                        {"qkv": (200, 90, 45, 22, 11, 5, 3, 2)}))
    muon, adam = optimisers(model.requires_grad_(True), settings(3, neuron_rate=0.25))
    others, base, alpha = adam.param_groups
    assert len(muon.param_groups[0]["params"]) == 7
    assert (base["lr"], alpha["lr"]) == (0.25, 0.025)     # alpha counts in units of the spike
    assert base["params"][0] is model.responses.base
    assert alpha["params"][0] is model.responses.alpha
    assert len(others["params"]) == 5       # embedding, head, three norms


def nan(value: torch.Tensor) -> torch.Tensor:
    return value * math.nan


def steep(value: torch.Tensor) -> torch.Tensor:
    """The same value with an infinite gradient."""
    return value + (value - value.detach()).sqrt()


@STAGES
@pytest.mark.parametrize("spoil", [nan, steep])
def test_a_loss_that_is_no_number(tmp_path, monkeypatch, run, module, stage, spoil):
    monkeypatch.setattr(module, "cross_entropy", at_call(3, module.cross_entropy, spoil))
    with pytest.raises(SpikeletError, match="no finite number at step 3: use a lower --rate"):
        run(tmp_path, save_every=0.0)
    kept = state(tmp_path, stage)
    assert kept["step"] == 2 and all(v.isfinite().all() for v in kept["model"].values())


@pytest.mark.parametrize("share, wanted", [(0.0, "qqqqqq"), (0.5, "fffqqq"), (1.0, "ffffff")])
def test_float_before_the_quantisers(tmp_path, monkeypatch, share, wanted):
    calls = []

    def note(owner: type, name: str, mark: str) -> None:
        really = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *given: calls.append(mark) or really(*given))

    note(FloatModel, "forward", "f")
    note(QuantisedNetwork, "train_step", "q")
    first(tmp_path, float_share=share)
    assert "".join(calls) == wanted


def test_compiled_without_a_compiler(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("CXX", str(tmp_path / "no-compiler"))
    with pytest.raises(SpikeletError, match="needs a C\\+\\+ compiler, and there is no .*no-compi"):
        train_quantised(untrained(SHAPE, 1), learnable(), settings(2), tmp_path, compiled=True)


# Distillation


def test_divergence_is_kullback_leibler():
    draw = torch.Generator().manual_seed(seed())
    ours, theirs = torch.randn(2, 3, 5, 7, generator=draw, dtype=torch.float64)
    p, q = torch.softmax(theirs, -1), torch.softmax(ours, -1)
    assert float(divergence(ours, theirs)) == pytest.approx(
        float((p * (p / q).log()).sum(-1).mean()))
    assert float(divergence(ours, ours)) == pytest.approx(0, abs=1e-12)


def test_distillation_follows_the_teacher(tmp_path):
    """The text says nothing of the next token: what is learned comes from the teacher."""
    teacher, start = random_checkpoint(SHAPE, seed()), untrained(SHAPE, seed())
    rng = np.random.default_rng(seed())
    windows = learnable()
    windows.ids = rng.integers(0, SHAPE.vocab, len(windows.ids)).astype(np.uint32)
    ids = windows.batch(torch.Generator().manual_seed(1))[:, :-1]
    wanted = FloatModel(teacher)(ids)

    def distance(checkpoint: Checkpoint) -> float:
        with torch.no_grad():
            return float(divergence(QuantisedNetwork(checkpoint).train()(ids), wanted))

    run = settings(60, distil=1.0)
    learned, _ = train_quantised(start, windows, run, tmp_path / "distilled", teacher)
    alone, _ = train_quantised(start, windows, settings(60), tmp_path / "alone")
    assert distance(learned) < 0.6 * distance(start)
    assert distance(learned) < 0.6 * distance(alone)


def test_a_teacher_that_does_not_fit(tmp_path):
    teacher = random_checkpoint(ModelConfig(16, 24, 1, 2, 1, 8, 31, 24), 1)
    short = random_checkpoint(ModelConfig(16, 24, 1, 2, 1, 8, 30, 15), 1)
    with pytest.raises(SpikeletError, match="windows of 16 tokens do not fit .* context of 15"):
        train_quantised(untrained(SHAPE, 1), learnable(), settings(2, distil=0.5), tmp_path, short)
    with pytest.raises(SpikeletError, match="the teacher has 31 tokens, the model 30: .* same voc"):
        train_quantised(untrained(SHAPE, 1), learnable(), settings(2, distil=0.5), tmp_path,
                        teacher)
