"""Models that the golden tests share: shapes, the story model, its documents."""

import functools
import os
from dataclasses import replace

import numpy as np
import torch

from golden.checkpoints.checkpoint import Checkpoint, load_checkpoint
from golden.checkpoints.config import Attention, ModelConfig
from golden.evaluation.perplexity import split_documents
from golden.tokenizers.load import load_tokenizer
from tests import seeds
from tests.shared import shared_file

SEED = int(os.environ.get("SPIKELET_SEED", "1"))

TINY = ModelConfig(dim=16, hidden=24, layers=2, heads=4, kv_heads=2, head_dim=4, vocab=64,
                   context=32)
# Nothing equal, nothing a power of two: grouped heads, biases, untied head, wide heads.
ODD = ModelConfig(dim=40, hidden=52, layers=3, heads=6, kv_heads=2, head_dim=12, vocab=91,
                  context=48, rope_theta=5000.0, norm_epsilon=1e-6, tied=False, qkv_bias=True)
WIDE_HEADS = ModelConfig(dim=96, hidden=200, layers=2, heads=4, kv_heads=4, head_dim=64, vocab=300,
                         context=64, tied=False, qkv_bias=True)
# Attention without softmax.
TINY_GATE, ODD_GATE = (replace(config, attention=Attention.gate) for config in (TINY, ODD))


@functools.cache
def stories() -> Checkpoint:
    """The pretrained story model; skips the test where it is absent."""
    return load_checkpoint(shared_file("models/stories260K.bin"))


@functools.cache
def stories_documents() -> list[list[int]]:
    """The evaluation documents as token ids; skips the test where they are absent."""
    tokenizer = load_tokenizer(shared_file("models/tok512.bin"), stories().config.vocab)
    text = shared_file("data/tinystories_eval.txt").read_text(encoding="utf-8")
    return split_documents(text, tokenizer)


def random_shape(name: str, **fixed) -> ModelConfig:
    """A shape that differs from name to name and with SPIKELET_SEED."""
    draw = seeds.generator(name)
    kv_heads, group = draw.randint(1, 3), draw.randint(1, 3)
    heads = kv_heads * group
    # Llama's config refuses a width that its heads do not divide, even where head_dim is given.
    shape = dict(dim=heads * draw.randint(3, 12) * 2, hidden=draw.randint(8, 90),
                 layers=draw.randint(1, 3), heads=heads, kv_heads=kv_heads,
                 head_dim=2 * draw.randint(1, 9), vocab=draw.randint(20, 200),
                 context=draw.randint(24, 48), tied=draw.random() < 0.5,
                 rope_theta=draw.choice([100.0, 10000.0, 500000.0, 1e6]),
                 norm_epsilon=draw.choice([1e-6, 1e-5, 1e-3]), qkv_bias=draw.random() < 0.5,
                 attention=Attention.softmax) | fixed
    config = ModelConfig(**shape)
    print(f"seed {seeds.seed()}, {name}: {config}")
    return config


def random_ids(config, length: int) -> torch.Tensor:
    print("seed", SEED)
    return torch.tensor(np.random.default_rng(SEED).integers(0, config.vocab, length))
