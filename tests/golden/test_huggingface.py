"""Hugging Face folders: every form is read as it was meant, and only what is asked for."""

import dataclasses
import json
import tracemalloc

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from golden.checkpoints.checkpoint import load_checkpoint, random_checkpoint, save_checkpoint
from golden.checkpoints.config import Attention
from golden.checkpoints.huggingface import LazyWeights
from isa.schedule import Population
from tests.golden.folders import BRAINGPT, LLAMA, QWEN2, tensors, write_folder
from tests.golden.models import ODD, TINY
from tests.seeds import seed

THRESHOLDS = {Population.qkv: (90, 50, 25, 12, 6, 3, 2, 1), Population.head: (86, 43, 22, 11, 6,
                                                                               3, 2, 40)}


def assert_equal(found, expected) -> None:
    assert found.config == expected.config
    assert list(found.weights) == list(expected.weights)
    for name, weight in expected.weights.items():
        assert found.weights[name].dtype == np.float32
        assert np.array_equal(found.weights[name], weight), name


@pytest.mark.parametrize("kind", [QWEN2, LLAMA, BRAINGPT], ids=lambda kind: kind["model_type"])
@pytest.mark.parametrize("config", [TINY, ODD], ids=["tied", "untied, biases"])
@pytest.mark.parametrize("shards", [1, 3])
def test_names_and_shards(tmp_path, kind, config, shards):
    checkpoint = random_checkpoint(config, seed())
    found = load_checkpoint(write_folder(tmp_path, checkpoint, kind, shards=shards))
    assert isinstance(found.weights, LazyWeights) and found.unused == ()
    assert_equal(found, checkpoint)
    for name, weight in checkpoint.layer(1).items():
        assert np.array_equal(found.layer(1)[name], weight)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(tmp_path, dtype):
    checkpoint = random_checkpoint(ODD, seed())
    found = load_checkpoint(write_folder(tmp_path, checkpoint, dtype=dtype))
    for name, weight in checkpoint.weights.items():
        assert np.array_equal(found.weights[name], torch.tensor(weight).to(dtype).float()), name


def test_what_config_json_may_leave_out(tmp_path):
    checkpoint = random_checkpoint(dataclasses.replace(
        ODD, heads=4, kv_heads=4, head_dim=10, rope_theta=10000.0), seed())
    omitted = dict.fromkeys(("model_type", "head_dim", "num_key_value_heads", "rope_theta",
                             "rms_norm_eps", "tie_word_embeddings", "hidden_act",
                             "use_sliding_window"))
    assert_equal(load_checkpoint(write_folder(tmp_path, checkpoint, **omitted)), checkpoint)


def test_newer_rope_parameters(tmp_path):
    checkpoint = random_checkpoint(ODD, seed())
    rope = {"rope_type": "default", "rope_theta": ODD.rope_theta}
    write_folder(tmp_path, checkpoint, rope_theta=None, rope_parameters=rope,
                 layer_types=["full_attention"] * 3, use_sliding_window=True)
    assert_equal(load_checkpoint(tmp_path), checkpoint)


def test_a_window_that_no_layer_uses(tmp_path):
    checkpoint = random_checkpoint(TINY, seed())
    write_folder(tmp_path, checkpoint, use_sliding_window=True, max_window_layers=TINY.layers)
    assert_equal(load_checkpoint(tmp_path), checkpoint)


def test_tensors_without_use_are_named(tmp_path):
    checkpoint = random_checkpoint(TINY, seed())
    more = {"model.layers.0.mlp.act_fn.table": torch.arange(9.0),
            "model.layers.1.self_attn.rotary_emb.inv_freq": torch.ones(2),
            "lm_head.weight": tensors(checkpoint)["model.embed_tokens.weight"].clone()}
    found = load_checkpoint(write_folder(tmp_path, checkpoint, BRAINGPT, more=more))
    assert found.unused == tuple(sorted(more))
    assert_equal(found, checkpoint)


@pytest.mark.parametrize("config", [
    TINY, dataclasses.replace(ODD, attention=Attention.gate)], ids=["tied", "untied, gate"])
def test_own_format(tmp_path, config):
    checkpoint = dataclasses.replace(random_checkpoint(config, seed()), thresholds=THRESHOLDS)
    save_checkpoint(checkpoint, tmp_path / "new" / "model",
                    extra={"bos_token_id": 0, "eos_token_id": 3, "seed": 7})
    folder = tmp_path / "new" / "model"
    found = load_checkpoint(folder)
    assert_equal(found, checkpoint)
    assert found.thresholds == THRESHOLDS and found.unused == ()
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    values = json.loads((folder / "config.json").read_text())
    assert (values["model_type"], values["architectures"]) == ("braingpt", ["BrainGPTForCausalLM"])
    assert (values["bos_token_id"], values["eos_token_id"], values["seed"]) == (0, 3, 7)
    written = load_file(folder / "model.safetensors")
    expected = tensors(checkpoint, wrapped=True)
    assert written.keys() == expected.keys()
    assert all(torch.equal(written[name], expected[name]) for name in expected)


def test_a_folder_saved_over_itself(tmp_path):
    first, second = random_checkpoint(TINY, seed()), random_checkpoint(ODD, seed())
    save_checkpoint(first, tmp_path)
    lazy = load_checkpoint(tmp_path)
    save_checkpoint(lazy, tmp_path)
    assert_equal(load_checkpoint(tmp_path), first)
    (tmp_path / "README.md").write_text("kept")
    save_checkpoint(second, tmp_path)
    assert_equal(load_checkpoint(tmp_path), second)
    assert_equal(lazy, first)      # the old file is still open
    assert (tmp_path / "README.md").read_text() == "kept"


def test_the_tokenizer_goes_along(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "tokenizer.json").write_text("{}")
    (source / "config.json").write_text(json.dumps({"bos_token_id": None, "eos_token_id": [5, 6]}))
    checkpoint = random_checkpoint(TINY, seed())
    save_checkpoint(checkpoint, tmp_path / "a", source / "tokenizer.json")
    values = json.loads((tmp_path / "a" / "config.json").read_text())
    assert (values["bos_token_id"], values["eos_token_id"]) == (None, 5)
    assert (tmp_path / "a" / "tokenizer.json").read_text() == "{}"
    save_checkpoint(checkpoint, tmp_path / "a", tmp_path / "a" / "tokenizer.json",
                    {"bos_token_id": 2})
    values = json.loads((tmp_path / "a" / "config.json").read_text())
    assert (values["bos_token_id"], values["eos_token_id"]) == (2, 5)


def test_one_tensor_at_a_time(tmp_path):
    """Loading reads no weights; using all of them one by one never holds more than one."""
    config = dataclasses.replace(TINY, dim=256, hidden=1024, layers=8)
    write_folder(tmp_path, random_checkpoint(config, seed()), dtype=torch.bfloat16)
    largest = 4 * config.hidden * config.dim
    tracemalloc.start()
    checkpoint = load_checkpoint(tmp_path)
    assert tracemalloc.get_traced_memory()[1] < largest
    for name in checkpoint.weights:
        checkpoint.weights[name].sum()
    assert tracemalloc.get_traced_memory()[1] < 3 * largest
    tracemalloc.stop()
