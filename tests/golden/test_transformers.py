"""The float model against Qwen2ForCausalLM and LlamaForCausalLM of `transformers`."""

import dataclasses
import importlib

import numpy as np
import pytest
import torch

from golden.checkpoints.checkpoint import Checkpoint, load_checkpoint, random_checkpoint
from golden.checkpoints.config import ModelConfig
from golden.float_model.arithmetic import KeyValueCache
from golden.float_model.model import FloatModel
from isa.errors import SpikeletError
from tests import seeds
from tests.golden.folders import rotate_half_order, tensors
from tests.golden.models import random_shape

pytest.importorskip("transformers", reason="the oracle: pip install transformers")
library = importlib.import_module("tests.golden.library")   # it needs transformers
TOLERANCE = 1e-4  # of logits, absolute


def random_ids(c: ModelConfig, batch: int, name: str) -> torch.Tensor:
    draw = seeds.generator(f"ids {name}")
    return torch.tensor([[draw.randrange(c.vocab) for _ in range(c.context)]
                         for _ in range(batch)])


def in_chunks(model: FloatModel, ids: torch.Tensor, sizes: list[int]) -> torch.Tensor:
    """Logits of ids (B, T), fed through one cache in chunks of these sizes."""
    cache = KeyValueCache(model.config, batch=len(ids))
    logits = [model(chunk, cache=cache) for chunk in ids.split(sizes, 1)]
    assert cache.length == ids.shape[1]
    return torch.cat(logits, 1)


def chunkings(T: int, name: str) -> dict[str, list[int]]:
    """Ways to feed T tokens: at once, one by one, a prompt then one by one, at random."""
    draw, mixed = seeds.generator(f"chunks {name}"), []
    while sum(mixed) < T:
        mixed.append(min(draw.choice([1, 2, 3, 7]), T - sum(mixed)))
    return {"at once": [T], "one by one": [1] * T, "prompt": [9] + [1] * (T - 9),
            "two": [T // 2, T - T // 2], "mixed": mixed}


CASES = {"qwen2": ("Qwen2", dict(qkv_bias=True)),
         "qwen2 untied": ("Qwen2", dict(qkv_bias=True, tied=False)),
         "qwen2 tied": ("Qwen2", dict(qkv_bias=True, tied=True)),
         "qwen2 without biases": ("Qwen2", dict(qkv_bias=False)),
         "qwen2 theta 1e6": ("Qwen2", dict(qkv_bias=True, rope_theta=1e6)),
         "qwen2 theta 100": ("Qwen2", dict(qkv_bias=True, rope_theta=100.0)),
         "qwen2 heads wider than dim": ("Qwen2", dict(heads=4, kv_heads=2, dim=24, head_dim=32)),
         "qwen2 grouped": ("Qwen2", dict(heads=6, kv_heads=2, dim=36)),
         "qwen2 one key head": ("Qwen2", dict(heads=3, kv_heads=1, dim=36)),
         "llama": ("Llama", dict(qkv_bias=False)),
         "llama untied": ("Llama", dict(qkv_bias=False, tied=False)),
         "llama narrow heads": ("Llama", dict(heads=4, kv_heads=4, dim=48, head_dim=6)),
         "llama with biases": ("Llama", dict(heads=4, kv_heads=2, dim=48, qkv_bias=True,
                                             tied=True))}


@torch.inference_mode()
@pytest.mark.parametrize("case", CASES)
def test_equals_the_library(case, tmp_path):
    family, fixed = CASES[case]
    config = random_shape(case, **fixed)
    checkpoint = random_checkpoint(config, seeds.seed())
    model = library.filled(checkpoint, family)
    ids = random_ids(config, 2, case)
    expected = model(ids, use_cache=False).logits
    assert expected.std() > 0.3        # or equality would say little
    ours = FloatModel(checkpoint)
    assert (ours(ids) - expected).abs().max() < TOLERANCE
    for name, sizes in chunkings(config.context, case).items():
        worst = (in_chunks(ours, ids, sizes) - expected).abs().max()
        assert worst < TOLERANCE, f"{name}: {sizes}"
    model.save_pretrained(tmp_path)
    if family == "Llama" and config.qkv_bias:      # its output projection has one too
        with pytest.raises(SpikeletError, match=r"o_proj\.bias"):
            load_checkpoint(tmp_path)
        return
    loaded = load_checkpoint(tmp_path)
    assert loaded.config == dataclasses.replace(config, qkv_bias=family == "Qwen2")
    assert loaded.unused == ()
    for name, weight in loaded.weights.items():
        assert np.array_equal(weight, checkpoint.weights.get(name, np.zeros_like(weight))), name


@torch.inference_mode()
def test_the_library_with_its_own_cache():
    config = random_shape("library cache", qkv_bias=True)
    checkpoint = random_checkpoint(config, seeds.seed())
    model, ours, cache = library.filled(checkpoint, "Qwen2"), FloatModel(checkpoint), None
    ids, ours_cache = random_ids(config, 1, "library cache"), KeyValueCache(config)
    for chunk in ids.split([5, 1, 1, 4, config.context - 11], 1):
        result = model(chunk, **{library.CACHE: cache}, use_cache=True)
        cache = result[library.CACHE]
        assert (ours(chunk, cache=ours_cache) - result.logits).abs().max() < TOLERANCE


@torch.inference_mode()
@pytest.mark.parametrize("family", ["Qwen2", "Llama"])
@pytest.mark.parametrize("shard", ["5GB", "20KB"])
def test_weights_of_the_library(tmp_path, family, shard):
    """The other way round: the library draws the weights and saves them, we load its folder."""
    config = random_shape(f"{family} draws", layers=3, qkv_bias=family == "Qwen2")
    model = library.model(config, family)
    generator = torch.Generator().manual_seed(seeds.seed())
    for parameter in model.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    model.save_pretrained(tmp_path, max_shard_size=shard)
    assert (tmp_path / "model.safetensors").exists() == (shard == "5GB")
    checkpoint = load_checkpoint(tmp_path)
    assert checkpoint.config == config
    ids = random_ids(config, 2, "from the library")
    expected = model(ids).logits
    assert expected.std() > 0.1
    assert (FloatModel(checkpoint)(ids) - expected).abs().max() < TOLERANCE
    back = tensors(checkpoint)
    for name, value in model.named_parameters():
        assert torch.equal(back[name], value), name


@torch.inference_mode()
def test_the_order_of_a_head_matters():
    """Rows left in halves are found: the comparison sees the rotary embedding's pairs."""
    config = random_shape("order", head_dim=12, rope_theta=10000.0, qkv_bias=True)
    checkpoint = random_checkpoint(config, seeds.seed())
    ids = random_ids(config, 1, "order")
    wrong = {name: rotate_half_order(weight, 12) if name.endswith("wk") else weight
             for name, weight in checkpoint.weights.items()}
    expected = library.filled(checkpoint, "Qwen2")(ids).logits
    got = FloatModel(Checkpoint(config, wrong))(ids)
    assert (got - expected).abs().max() > 100 * TOLERANCE
    theta = dataclasses.replace(config, rope_theta=9000.0)
    got = FloatModel(Checkpoint(theta, checkpoint.weights))(ids)
    assert (got - expected).abs().max() > TOLERANCE
