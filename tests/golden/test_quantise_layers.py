"""Walks through a model layer by layer = the whole models; one layer's weights at a time."""

import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

from golden.checkpoints.checkpoint import Checkpoint, random_checkpoint
from golden.checkpoints.config import ModelConfig
from golden.evaluation.perplexity import perplexity
from golden.float_model import walk as float_layers
from golden.float_model.model import FloatModel
from golden.float_model.walk import walk_float
from golden.quantisation import calibrate as calibration
from golden.quantisation import walk as integer_layers
from golden.quantisation.calibrate import calibrate, quantise_calibrated, sample_documents
from golden.quantisation.quantise import quantise
from golden.quantisation.walk import Saturated, walk_integer
from golden.spiking_model.model import SpikingModel
from isa.errors import SpikeletError
from tests.golden.models import ODD, TINY, WIDE_HEADS
from tests.seeds import seed

SHAPES = pytest.mark.parametrize("config", [TINY, ODD, WIDE_HEADS], ids=["tiny", "odd", "wide"])


def documents_for(config: ModelConfig) -> list[list[int]]:
    random = np.random.default_rng(seed())
    return [random.integers(0, config.vocab, length).tolist() for length in (9, 17, 1, 30)]


class Kept:
    """A sink that keeps what it gets, in order."""

    def __init__(self) -> None:
        self.parts: list = []

    def embedding(self, synapses) -> None:
        self.parts.append(("embedding", synapses))

    def layer(self, n, layer) -> None:
        self.parts.append((n, layer))

    def head(self, synapses) -> None:
        self.parts.append(("head", synapses))


@SHAPES
@pytest.mark.parametrize("small", [0, 1 << 25])
def test_the_float_walk_is_the_float_model(config, small, monkeypatch):
    monkeypatch.setattr(float_layers, "SMALL", small)
    monkeypatch.setattr(float_layers, "HEAD_ROWS", 7)
    checkpoint, documents = random_checkpoint(config, seed()), documents_for(config)
    walk = walk_float(checkpoint, documents)
    model, largest = FloatModel(checkpoint), 0.0
    for i, ids in enumerate(documents):
        record: dict = {}
        model(torch.tensor(ids), record)
        for n in range(config.layers):
            assert torch.equal(walk.attended[n][i], record[f"layers.{n}.attended"][0])
            assert torch.equal(walk.residual[n][i], record[f"layers.{n}.residual"][0])
        largest = max(largest, *(float(vector.abs().max()) for vector in record.values()))
    assert walk.largest == pytest.approx(largest, rel=1e-6)
    expected = perplexity(model, documents)
    assert walk.perplexity.tokens == expected.tokens == 53
    assert walk.perplexity.value == pytest.approx(expected.value, rel=1e-6)


@SHAPES
def test_the_integer_walk_is_the_spiking_model(config, monkeypatch):
    monkeypatch.setattr(integer_layers, "HEAD_ROWS", 7)
    checkpoint, documents = random_checkpoint(config, seed()), documents_for(config)
    floats, kept = walk_float(checkpoint, documents), Kept()
    walk = walk_integer(checkpoint, 10, documents, floats, kept)
    assert [name for name, _ in kept.parts] == ["embedding", *range(config.layers), "head"]
    model = SpikingModel(quantise(checkpoint, 10))
    peaks: dict[str, int] = {}
    records = []
    for ids in documents:
        records.append({})
        model(torch.tensor(ids), records[-1])
        for name, vector in records[-1].items():
            name = ".".join(name.split(".")[:3])
            peaks[name] = max(peaks.get(name, 0), int(vector.abs().max()))
    assert walk.peaks == {name: peaks[name] for name in walk.peaks}
    assert {name.split(".")[-1] for name in walk.peaks} == {
        *integer_layers.VECTORS, "embedding", "logits"}
    for n, errors in enumerate(walk.errors):
        for name, floating, error in zip(("attended", "down"), (floats.attended, floats.residual),
                                         errors, strict=True):
            integer = torch.cat([record[f"layers.{n}.{name}"] for record in records]) / 2.0**10
            expected = torch.cat(floating[n])
            distance = torch.linalg.norm(integer - expected) / torch.linalg.norm(expected)
            assert error == pytest.approx(float(distance), rel=1e-5)
            assert 0 < error < 0.1
    expected = perplexity(model.log_logits, documents)
    assert walk.perplexity.value == pytest.approx(expected.value, rel=1e-12)
    assert walk.perplexity.tokens == expected.tokens


def test_clipping_ends_a_walk_before_its_layer_is_handed_on():
    checkpoint = random_checkpoint(ODD, seed())
    checkpoint.weights["layers.1.w_up"][:] *= 3000
    documents, kept = documents_for(ODD), Kept()
    floats = walk_float(checkpoint, documents)
    with pytest.raises(Saturated) as caught:
        walk_integer(checkpoint, 12, documents, floats, kept)
    assert caught.value.where.startswith("layers.1.")
    assert [name for name, _ in kept.parts] == ["embedding", 0]


def test_calibration_opens_a_sink_for_every_fraction_it_tries(monkeypatch):
    """Without a margin the float model promises too much, and the integers fall back."""
    checkpoint = random_checkpoint(ODD, seed())
    checkpoint.weights["layers.1.w_up"][:] *= 3000
    documents, opened, ends = documents_for(ODD), [], []

    @contextmanager
    def open_sink(fraction: int) -> Iterator[Kept]:
        opened.append(fraction)
        try:
            yield Kept()
        except Saturated as saturated:
            ends.append(saturated.where)
            raise
        ends.append(None)

    stages: list[tuple[float, str]] = []
    result = calibrate(checkpoint, documents, margin_bits=-2, open_sink=open_sink,
                       tell=lambda done, stage: stages.append((done, stage)))
    assert len(opened) > 1 and opened == list(range(opened[0], result.fraction - 1, -1))
    assert ends[-1] is None and all(ends[:-1])
    model = SpikingModel(quantise(checkpoint, result.fraction))
    for ids in documents:
        model(torch.tensor(ids))
    assert model.counters.saturated == 0
    assert len(result.integers.errors) == ODD.layers
    assert any(stage == "float layer 2/3" for _, stage in stages)
    assert all(0 <= done <= 1 for done, _ in stages)


def test_what_no_fraction_holds_is_said_with_its_name():
    checkpoint = random_checkpoint(TINY, seed())
    checkpoint.weights["layers.1.w_up"][:] *= 1e9
    with pytest.raises(SpikeletError, match=r"layers.1.\w+ is too large for 24-bit vectors"):
        calibrate(checkpoint, documents_for(TINY))


@SHAPES
@pytest.mark.parametrize("begin", [None, 3])
def test_sampling_with_a_cache_is_sampling_with_the_whole_model(config, begin):
    checkpoint = random_checkpoint(config, seed())
    got = sample_documents(checkpoint, count=3, length=20, seed=seed(), begin=begin)
    model, generator = FloatModel(checkpoint), torch.Generator().manual_seed(seed())
    ids = (torch.full((3, 1), begin) if begin is not None
           else torch.randint(config.vocab, (3, 1), generator=generator))
    while ids.shape[1] < 20:
        probability = torch.softmax(model(ids)[:, -1].to(torch.float64), -1)
        ids = torch.cat([ids, torch.multinomial(probability, 1, generator=generator)], 1)
    assert got == ids.tolist()


class LazyWeights(Mapping):
    """Weights made at each access; `most` numbers were alive at the same time."""

    def __init__(self, weights: Mapping[str, np.ndarray]) -> None:
        self._weights, self.alive, self.most = weights, 0, 0

    def __getitem__(self, name: str) -> np.ndarray:
        value = self._weights[name].copy()
        self.alive += value.size
        self.most = max(self.most, self.alive)
        weakref.finalize(value, self._gone, value.size)
        return value

    def _gone(self, size: int) -> None:
        self.alive -= size

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)


def test_one_layer_is_in_memory_at_a_time(monkeypatch):
    monkeypatch.setattr(float_layers, "SMALL", 0)
    config = replace(ODD, layers=12, vocab=30)
    checkpoint = random_checkpoint(config, seed())
    lazy = LazyWeights(checkpoint.weights)
    result = calibrate(Checkpoint(config, lazy), documents_for(config))
    layer = sum(weight.size for weight in checkpoint.layer(0).values())
    assert layer <= lazy.most < 1.5 * layer
    assert result.fraction == calibration.choose_fraction(checkpoint, documents_for(config))
    lazy.most = lazy.alive
    sampled = sample_documents(Checkpoint(config, lazy), length=5)
    outside = 3 * config.vocab * config.dim
    assert lazy.most < 1.5 * layer + outside
    assert sampled == sample_documents(checkpoint, length=5)


def test_a_calibrated_model_is_the_quantised_one():
    checkpoint, documents = random_checkpoint(ODD, seed()), documents_for(ODD)
    model = quantise_calibrated(checkpoint, documents)
    assert model.fraction == calibrate(checkpoint, documents).fraction
    assert np.array_equal(model.head.weight, quantise(checkpoint, model.fraction).head.weight)
