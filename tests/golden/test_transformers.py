"""The float model against Qwen2ForCausalLM and LlamaForCausalLM of `transformers`."""

import dataclasses

import numpy as np
import pytest
import torch

from golden.model.checkpoint import Checkpoint, random_checkpoint
from golden.model.config import ModelConfig
from golden.model.float_model import FloatModel, KeyValueCache
from tests import seeds
from tests.golden.hugging_face import (
    checkpoint_of,
    common_keys,
    halves,
    neighbours,
    random_shape,
    state_of,
)

transformers = pytest.importorskip("transformers", reason="the oracle: pip install transformers")
TOLERANCE = 1e-4  # of logits, absolute


def library_model(c: ModelConfig, family: str):
    """An untrained model of the library in this shape; eager attention, so nothing is fused."""
    kind = getattr(transformers, f"{family}Config")
    extra = dict(attention_bias=c.qkv_bias) if family == "Llama" else {}
    config = kind(**common_keys(c), **extra, attn_implementation="eager",
                  rope_parameters=dict(rope_type="default", rope_theta=c.rope_theta))
    return getattr(transformers, f"{family}ForCausalLM")(config).eval()


def filled(checkpoint: Checkpoint, family: str):
    """A model of the library with a checkpoint's weights.

    Biases that ours do not have are 0: Qwen2's of q, k and v, and Llama's of the output projection,
    which come with the others.
    """
    model, state = library_model(checkpoint.config, family), state_of(checkpoint)
    biases = {"o_proj"} if family == "Llama" else {"q_proj", "k_proj", "v_proj"}
    needed = checkpoint.config.qkv_bias == (family == "Llama")
    for name, value in model.state_dict().items():
        if needed and name.endswith(".bias") and name.split(".")[-2] in biases:
            state[name] = torch.zeros_like(value)
    model.load_state_dict(state)       # complains of a name too many or too few
    return model


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
def test_equals_the_library(case):
    family, fixed = CASES[case]
    config = random_shape(case, **fixed)
    checkpoint = random_checkpoint(config, seeds.seed())
    model = filled(checkpoint, family)
    ids = random_ids(config, 2, case)
    expected = model(ids, use_cache=False).logits
    assert expected.std() > 0.3        # or equality would say little
    ours = FloatModel(checkpoint)
    assert (ours(ids) - expected).abs().max() < TOLERANCE
    for name, sizes in chunkings(config.context, case).items():
        worst = (in_chunks(ours, ids, sizes) - expected).abs().max()
        assert worst < TOLERANCE, f"{name}: {sizes}"


@torch.inference_mode()
def test_the_library_with_its_own_cache():
    config = random_shape("library cache", qkv_bias=True)
    checkpoint = random_checkpoint(config, seeds.seed())
    model, ours, cache = filled(checkpoint, "Qwen2"), FloatModel(checkpoint), None
    ids, ours_cache = random_ids(config, 1, "library cache"), KeyValueCache(config)
    for chunk in ids.split([5, 1, 1, 4, config.context - 11], 1):
        result = model(chunk, past_key_values=cache, use_cache=True)
        cache = result.past_key_values
        assert (ours(chunk, cache=ours_cache) - result.logits).abs().max() < TOLERANCE


@torch.inference_mode()
def test_weights_of_the_library():
    """The other way round: the library draws the weights, ours are made of them."""
    config = random_shape("from the library", qkv_bias=True)
    model = library_model(config, "Qwen2")
    generator = torch.Generator().manual_seed(seeds.seed())
    for parameter in model.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    checkpoint = checkpoint_of(model.state_dict(), config)
    ids = random_ids(config, 2, "from the library")
    expected = model(ids).logits
    assert expected.std() > 0.1
    assert (FloatModel(checkpoint)(ids) - expected).abs().max() < TOLERANCE
    back = state_of(checkpoint)
    for name, value in model.state_dict().items():
        assert torch.equal(back[name], value), name


@torch.inference_mode()
def test_the_order_of_a_head_matters():
    """Rows left in halves are found: the comparison sees the rotary embedding's pairs."""
    config = random_shape("order", head_dim=12, rope_theta=10000.0, qkv_bias=True)
    checkpoint = random_checkpoint(config, seeds.seed())
    ids = random_ids(config, 1, "order")
    wrong = {name: halves(weight, 12) if name.endswith("wk") else weight
             for name, weight in checkpoint.weights.items()}
    expected = filled(checkpoint, "Qwen2")(ids).logits
    got = FloatModel(Checkpoint(config, wrong))(ids)
    assert (got - expected).abs().max() > 100 * TOLERANCE
    theta = dataclasses.replace(config, rope_theta=9000.0)
    got = FloatModel(Checkpoint(theta, checkpoint.weights))(ids)
    assert (got - expected).abs().max() > TOLERANCE


def test_halves_and_neighbours_are_inverse():
    weight = np.arange(24.0).reshape(12, 2)
    assert halves(weight, 6)[:, 0].tolist() == [0, 4, 8, 2, 6, 10, 12, 16, 20, 14, 18, 22]
    assert np.array_equal(neighbours(halves(weight, 6), 6), weight)
    assert np.array_equal(halves(neighbours(weight, 6), 6), weight)
