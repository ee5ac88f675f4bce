"""Perplexity: how surprised a model is by text, document by document."""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch

from golden.model.tokenizer import Tokenizer
from isa.errors import SpikeletError

SEPARATOR = "<|endoftext|>"
LONGEST = 400


class Perplexity(NamedTuple):
    """exp(mean negative log likelihood) and the number of predicted tokens behind it."""

    value: float
    tokens: int


def split_documents(text: str, tokenizer: Tokenizer, longest: int = LONGEST) -> list[list[int]]:
    """Token ids of each document (BOS first), at most `longest` of each.

    Raises:
        SpikeletError: a text in which no token follows another.
    """
    documents = [tokenizer.encode(document.strip())[:longest]
                 for document in text.split(SEPARATOR) if document.strip()]
    documents = [ids for ids in documents if len(ids) > 1]
    if not documents:
        raise SpikeletError("the text for perplexity is empty: give a file with some words")
    return documents


@torch.inference_mode()
def perplexity(forward: Callable[[torch.Tensor], torch.Tensor],
               documents: Iterable[list[int]]) -> Perplexity:
    """Perplexity of `forward`, which maps ids (T,) to logits (T, vocab) in natural-log units."""
    total, count = 0.0, 0
    for document in documents:
        ids = torch.tensor(document, dtype=torch.int64)
        log_p = torch.log_softmax(forward(ids)[:-1].to(torch.float64), -1)   # (T - 1, vocab)
        total -= float(log_p.gather(1, ids[1:, None]).sum())
        count += len(document) - 1
    return Perplexity(math.exp(total / count), count)
