"""Bits per character: every token once, with the most context, whatever the tokenizer."""

import json
import math

import pytest
import tokenizers
import torch
from tokenizers import decoders, models, pre_tokenizers

from golden.checkpoints.checkpoint import random_checkpoint
from golden.evaluation.perplexity import bits_per_character, perplexity, split_documents
from golden.float_model.model import FloatModel
from golden.tokenizers.load import load_tokenizer
from golden.tokenizers.tokenizer import Tokenizer
from isa.errors import SpikeletError
from tests.golden.models import TINY, stories
from tests.seeds import generator, seed
from tests.shared import shared_file

LETTERS = "abcdefghij"


def letters(folder, begin: int | None) -> Tokenizer:
    """A token for each letter and for "ab"; 0 begins a document where `begin` says so."""
    vocab = {"<s>": 0} | {c: n + 1 for n, c in enumerate(LETTERS)} | {"ab": 11}
    library = tokenizers.Tokenizer(models.BPE(vocab, [("a", "b")]))
    library.pre_tokenizer, library.decoder = pre_tokenizers.ByteLevel(False), decoders.ByteLevel()
    library.add_special_tokens(["<s>"])
    library.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps({"bos_token_id": begin}))
    return load_tokenizer(folder)


@pytest.mark.parametrize("begin", [0, None])
def test_a_known_distribution(tmp_path, begin):
    """Half of all probability on "ab", an eighth each on "c" and "d": 1, 3 and 3 bits a token."""
    probabilities = torch.full((64,), 0.25 / 61)
    probabilities[11], probabilities[3], probabilities[4] = 0.5, 0.125, 0.125
    words, text = letters(tmp_path, begin), "ababcd<|endoftext|>\n ccab \n<|endoftext|>"
    bits, characters = (1 + 1 + 3 + 3) + (3 + 3 + 1), 6 + 4
    if begin is None:                       # the first "ab" and "c" are given
        bits, characters = bits - 1 - 3, characters - 2 - 1
    found = bits_per_character(lambda ids: torch.log(probabilities).expand(len(ids), 64), text,
                               words, 4)
    assert found == pytest.approx(bits / characters)


@pytest.mark.parametrize("context", [1, 2, 9, 32])
@pytest.mark.parametrize("begin", [0, None])
def test_windows_against_one_token_at_a_time(tmp_path, context, begin):
    """Each token by itself, from the first window (a multiple of half a context) that reaches it.

    That window shows the most of what is before the token.
    """
    rng, words = generator("windows"), letters(tmp_path, begin)
    model = FloatModel(random_checkpoint(TINY, seed()))
    documents = ["".join(rng.choices(LETTERS, k=n)) for n in (1, 2, 17, 50)]
    half = max(context // 2, 1)
    nats, characters = 0.0, sum(map(len, documents))
    for document in documents:
        ids = words.encode(document)
        characters -= 0 if begin == 0 else len(words.decode(ids[:1]))
        for t in range(1, len(ids)):
            start = next(s for s in range(0, len(ids), half) if s + context >= t)
            shown = ids[start:t]
            assert len(shown) >= min(t, half)
            logits = model(torch.tensor(shown))[-1].double()
            nats -= float(torch.log_softmax(logits, -1)[ids[t]])
    lengths = []

    def forward(ids: torch.Tensor) -> torch.Tensor:
        lengths.append(len(ids))
        return model(ids)

    found = bits_per_character(forward, "<|endoftext|>".join(documents), words, context)
    assert found == pytest.approx(nats / math.log(2) / characters, rel=1e-5)
    assert max(lengths) <= context


def test_short_documents_are_perplexity_by_another_name(tmp_path):
    words, text = letters(tmp_path, 0), "abcabc<|endoftext|>jihgf"
    model = FloatModel(random_checkpoint(TINY, seed()))
    result = perplexity(model, split_documents(text, words))
    bits = bits_per_character(model, text, words, TINY.context)
    assert bits == pytest.approx(result.tokens * math.log2(result.value) / 11)


def test_empty_text(tmp_path):
    for text, begin in ((" <|endoftext|>\n", 0), ("", 0), ("a", None)):
        with pytest.raises(SpikeletError, match="empty"):
            bits_per_character(lambda ids: None, text, letters(tmp_path, begin), 4)


def test_story_model():
    words = load_tokenizer(shared_file("models/tok512.bin"), 512)
    text = shared_file("data/tinystories_eval.txt").read_text(encoding="utf-8")
    bits = bits_per_character(FloatModel(stories()), text, words, stories().config.context)
    assert bits == pytest.approx(1.2914, abs=1e-3)
