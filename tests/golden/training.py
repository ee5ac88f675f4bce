"""What the tests of training share: a text that can be learned, a tokenizer, shapes, runs."""

import errno
import functools
import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from golden.checkpoints.checkpoint import Checkpoint
from golden.checkpoints.config import ModelConfig
from golden.training.corpus import END, Windows, train_tokenizer
from golden.training.initial import untrained
from golden.training.quantised_stage import train_quantised
from golden.training.settings import Settings
from tests import seeds

SHAPE = ModelConfig(dim=16, hidden=24, layers=1, heads=2, kv_heads=1, head_dim=8, vocab=30,
                    context=24, tied=False)
WORDS = ("cat", "dog", "sun", "tree", "bird", "fish", "runs", "sits", "sees", "eats", "flies",
         "sleeps", "under", "over", "with", "red", "big")
VOCAB = 300


def stories(count: int = 60) -> str:
    """Sentences of a few words."""
    draw = seeds.generator("stories")
    texts = [" ".join("the " + draw.choice(WORDS) for _ in range(12)) + "." for _ in range(count)]
    return f"\n{END}\n".join(texts) + "\n"


@functools.cache
def _tokenizer_text() -> str:
    with TemporaryDirectory() as folder:
        text = Path(folder) / "text.txt"
        text.write_text(stories())
        train_tokenizer(text, VOCAB, Path(folder) / "tokenizer.json")
        return (Path(folder) / "tokenizer.json").read_text()


def write_tokenizer(folder: Path) -> Path:
    """tokenizer.json of 300 tokens for `stories`, with the config.json that names its token 0."""
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text(_tokenizer_text())
    (folder / "config.json").write_text(json.dumps({"bos_token_id": 0, "eos_token_id": 0}))
    return folder / "tokenizer.json"


def learnable(batch: int = 4, length: int = 16, seed: int | None = None) -> Windows:
    """Windows of an endless round: each token but one in ten says the next."""
    rng = np.random.default_rng(seeds.seed() if seed is None else seed)
    ids = np.tile(rng.permutation(SHAPE.vocab), 40)
    odd = rng.random(len(ids)) < 0.1
    ids[odd] = rng.integers(0, SHAPE.vocab, odd.sum())
    return Windows(ids.astype(np.uint32), batch, length)


def settings(steps: int, **changes) -> Settings:
    return Settings(**dict(steps=steps, batch=4, length=16, rate=0.05, seed=seeds.seed()) | changes)


@functools.cache
def trained() -> Checkpoint:
    """What a short stage 1 makes of untrained weights."""
    with TemporaryDirectory() as folder:
        return train_quantised(untrained(SHAPE, seeds.seed()), learnable(), settings(60),
                               Path(folder))[0]


def same(one, other) -> bool:
    """Whether two states are equal to the last bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def state(folder: Path, stage: str) -> dict:
    return torch.load(folder / f"{stage}.state.pt", weights_only=True)


def at_call(number: int, function, happens):
    """The function, but at its call of this number `happens` is raised, or gets what it gives."""
    calls = []

    def called(*arguments):
        calls.append(1)
        if len(calls) != number:
            return function(*arguments)
        if isinstance(happens, BaseException):
            raise happens
        return happens(function(*arguments))

    return called


def full(*arguments, **options):
    """A write to a disk without room."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
