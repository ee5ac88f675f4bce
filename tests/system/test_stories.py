"""The story model on the `ulx3s` device: text, tokens and every vector equal to golden's."""

import functools

import pytest

from golden.quantisation.quantise import QuantisedModel, quantise
from golden.tokenizers.load import load_tokenizer
from golden.tokenizers.tokenizer import Tokenizer
from tests.golden.models import stories
from tests.shared import shared_file
from tests.system.pairs import Pair

PROMPTS = ("Once upon a time", "Tom and his dog went to the park", "The little bird was sad")
NEW_TOKENS = 64


@functools.cache
def model() -> QuantisedModel:
    return quantise(stories())


@functools.cache
def tokenizer() -> Tokenizer:
    return load_tokenizer(shared_file("models/tok512.bin"), stories().config.vocab)


@functools.cache
def pair(weights: str) -> Pair:
    return Pair(model(), "ulx3s", weights)


@pytest.mark.parametrize("text", PROMPTS)
def test_greedy_story(text: str) -> None:
    result = pair("resident").generate(tokenizer().encode(text), NEW_TOKENS, trace=False)
    assert len(result.tokens) == NEW_TOKENS
    assert result.counters["saturations"] == 0
    story = tokenizer().decode(tokenizer().encode(text) + result.tokens)
    print(story)
    assert len(set(story.split())) > 15, story  # words, not one token over and over


def test_every_vector_of_a_story() -> None:
    pair("resident").generate(tokenizer().encode(PROMPTS[0]), 8)


def test_cycles_at_position_64() -> None:
    """At most 12,000 cycles from token to token at position 64, head and argmax included."""
    devices = pair("resident")
    prompt = tokenizer().encode(PROMPTS[0])
    prompt += devices.generate(prompt, 64 - len(prompt), trace=False).tokens
    assert len(prompt) == 64
    to_63 = devices.generate(prompt, 1, trace=False).counters["cycles"]
    to_64 = devices.generate(prompt, 2, trace=False).counters["cycles"]
    print(f"cycles for the token at position 64: {to_64 - to_63}")
    assert 3000 < to_64 - to_63 <= 12_000


def test_streamed_weights_give_the_same_tokens() -> None:
    prompt = tokenizer().encode(PROMPTS[1])[:3]
    resident = pair("resident").generate(prompt, 5, trace=False)
    assert pair("streamed").generate(prompt, 5).tokens == resident.tokens


@pytest.mark.parametrize("text", [
    PROMPTS[0], *(pytest.param(text, marks=pytest.mark.extra) for text in PROMPTS[1:]),
])
def test_streamed_story(text: str) -> None:
    """Every weight is sent over the link, layer by layer, for every token: the same story."""
    prompt = tokenizer().encode(text)
    resident = pair("resident").generate(prompt, NEW_TOKENS, trace=False)
    assert pair("streamed").generate(prompt, NEW_TOKENS, trace=False).tokens == resident.tokens
