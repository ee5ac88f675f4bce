"""Perplexity and bits per character: how surprised a model is by text, document by document."""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch

from golden.tokenizers.tokenizer import Tokenizer
from isa.errors import SpikeletError

Forward = Callable[[torch.Tensor], torch.Tensor]
"""Maps ids (T,) to logits (T, vocab) in natural-log units."""

SEPARATOR = "<|endoftext|>"
LONGEST = 400


class Perplexity(NamedTuple):
    """exp(mean negative log likelihood) and the number of predicted tokens behind it."""

    value: float
    tokens: int


def _documents(text: str) -> list[str]:
    return [document.strip() for document in text.split(SEPARATOR) if document.strip()]


def split_documents(text: str, tokenizer: Tokenizer, longest: int = LONGEST) -> list[list[int]]:
    """Token ids of each document (the tokenizer's begin first), at most `longest` of each.

    Raises:
        SpikeletError: a text in which no token follows another.
    """
    documents = [tokenizer.encode(document)[:longest] for document in _documents(text)]
    documents = [ids for ids in documents if len(ids) > 1]
    if not documents:
        raise SpikeletError("the text for perplexity is empty: give a file with some words")
    return documents


@torch.inference_mode()
def perplexity(forward: Forward, documents: Iterable[list[int]]) -> Perplexity:
    """Perplexity of `forward`; the first token of a document is given, not predicted."""
    total, count = 0.0, 0
    for document in documents:
        ids = torch.tensor(document, dtype=torch.int64)
        total += float(_surprise(forward(ids)[:-1], ids[1:]).sum())
        count += len(document) - 1
    return Perplexity(math.exp(total / count), count)


def _surprise(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Negative log likelihoods (T,) of targets (T,) under logits (T, vocab), in nats."""
    log_p = torch.log_softmax(logits.to(torch.float64), -1)
    return -log_p.gather(1, targets[:, None])[:, 0]


@torch.inference_mode()
def bits_per_character(forward: Forward, text: str, tokenizer: Tokenizer, context: int) -> float:
    """Bits that all tokens of all documents take, over the number of characters.

    Unlike perplexity, models with different tokenizers can be compared by it. A document of more
    than `context` tokens goes through windows that overlap by half; every token is predicted once,
    by the window that shows most of what is before it. Without a begin token the first token of a
    document is not predicted, and its characters are not counted.

    Raises:
        SpikeletError: a text in which no token follows another.
    """
    total, characters = 0.0, 0
    for document in _documents(text):
        ids = torch.tensor(tokenizer.encode(document), dtype=torch.int64)
        given = tokenizer.decode([int(ids[0])]) if tokenizer.begin is None else ""
        characters += len(document) - len(given)
        done = 1                        # tokens that need no prediction any more
        for start in range(0, len(ids), max(context // 2, 1)):
            end = min(start + context, len(ids) - 1)
            if end < done:
                break
            surprise = _surprise(forward(ids[start:end]), ids[start + 1:end + 1])
            total += float(surprise[done - start - 1:].sum())
            done = end + 1
    if not characters:
        raise SpikeletError("the text is empty: give a file with some words")
    return total / math.log(2) / characters
