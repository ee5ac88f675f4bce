"""The model that ships: its files, and its stories on the `ulx3s` device."""

import functools
import json
from pathlib import Path

import pytest
import torch

from golden.checkpoints.checkpoint import Checkpoint, load_checkpoint
from golden.quantisation.calibrate import quantise_calibrated
from golden.quantisation.quantise import QuantisedModel
from golden.quantisation.responses import TRAINED
from golden.spiking_model.model import SpikingModel
from golden.tokenizers.load import load_tokenizer
from golden.tokenizers.tokenizer import Tokenizer
from host.cli.sources import SHIPPED_MODEL
from isa.schedule import EXACT_THRESHOLDS, Population
from tests.system.pairs import Pair

PROMPTS = ("Once upon a time", "Tom and his dog went to the park", "The little bird was sad")
NEW_TOKENS = 48
LARGEST_FILE = 2_000_000  # bytes of weights


@functools.cache
def checkpoint() -> Checkpoint:
    return load_checkpoint(SHIPPED_MODEL)


@functools.cache
def model() -> QuantisedModel:
    return quantise_calibrated(checkpoint(), begin=tokenizer().begin)


@functools.cache
def tokenizer() -> Tokenizer:
    return load_tokenizer(SHIPPED_MODEL, checkpoint().config.vocab)


@functools.cache
def pair() -> Pair:
    return Pair(model(), "ulx3s", "resident")


def test_files() -> None:
    """Weights of less than 2 MB, a tokenizer that gives every text back, and the model card."""
    assert (SHIPPED_MODEL / "model.safetensors").stat().st_size < LARGEST_FILE
    assert not checkpoint().unused
    text = "Zoë said: “Hi!”\n\tOnce upon a time…"
    assert tokenizer().decode(tokenizer().encode(text)) == text
    card = Path(SHIPPED_MODEL / "README.md").read_text()
    for word in ("Data", "Commands", "Seed", "Hardware", "Results"):
        assert word in card
    assert json.loads((SHIPPED_MODEL / "config.json").read_text())["model_type"] == "braingpt"


def test_thresholds_are_trained() -> None:
    """Every population's thresholds are raised, the head's least: there spikes earn most."""
    thresholds = checkpoint().thresholds
    assert set(thresholds) == set(TRAINED)
    raised = {p: sum(t) - sum(EXACT_THRESHOLDS) for p, t in thresholds.items()}
    assert 0 < raised.pop(Population.head) < min(raised.values())


@pytest.mark.parametrize("text", PROMPTS)
def test_story(text: str) -> None:
    """Simulated device = golden device = integer model, greedily."""
    ids = tokenizer().encode(text)
    result = pair().generate(ids, NEW_TOKENS, trace=False)
    assert result.counters["saturations"] == 0
    spiking = SpikingModel(model())
    logits = spiking.forward(torch.tensor(ids + result.tokens))
    assert logits[len(ids) - 1 : -1].argmax(-1).tolist() == result.tokens
    story = tokenizer().decode(ids + result.tokens)
    print(story)
    # Greedily a model of this size repeats its sentences, but not one token over and over.
    assert len(set(story.split())) > 8, story


def test_every_vector_of_a_story() -> None:
    pair().generate(tokenizer().encode(PROMPTS[0]), 6)


def test_cycles_at_position_64() -> None:
    devices = pair()
    prompt = tokenizer().encode(PROMPTS[0])
    prompt += devices.generate(prompt, 64 - len(prompt), trace=False).tokens
    assert len(prompt) == 64, "the story ended early"
    to_63 = devices.generate(prompt, 1, trace=False).counters["cycles"]
    to_64 = devices.generate(prompt, 2, trace=False).counters["cycles"]
    print(f"cycles for the token at position 64: {to_64 - to_63}")
    assert 2000 < to_64 - to_63 <= 6000
