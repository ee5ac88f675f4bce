"""Checkpoints: what is read is what was written, and every bad file is one clear line."""

import dataclasses
import struct

import numpy as np
import pytest

from golden.checkpoints.checkpoint import (
    Checkpoint,
    load_checkpoint,
    random_checkpoint,
    save_llama2c,
)
from golden.checkpoints.config import ModelConfig
from isa.errors import SpikeletError
from tests.golden.models import ODD, TINY, stories
from tests.shared import shared_file


def message(path) -> str:
    with pytest.raises(SpikeletError) as caught:
        load_checkpoint(path)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("tied", [True, False])
def test_round_trip(tmp_path, tied):
    config = dataclasses.replace(TINY, tied=tied)
    checkpoint = random_checkpoint(config, 3)
    save_llama2c(checkpoint, tmp_path / "model.bin")
    again = load_checkpoint(tmp_path / "model.bin")
    assert again.config == config
    assert again.weights.keys() == checkpoint.weights.keys() == config.weight_shapes().keys()
    for name, weight in checkpoint.weights.items():
        assert again.weights[name].dtype == np.float32
        assert np.array_equal(again.weights[name], weight), name
    assert (again.head is again.embedding) == tied


def test_layer_names():
    layer = random_checkpoint(ODD, 0).layer(2)
    assert set(layer) == {"attention_norm", "wq", "wk", "wv", "bq", "bk", "bv", "wo", "mlp_norm",
                          "w_gate", "w_up", "w_down"}
    assert layer["wo"].shape == (40, 72)


def test_random_checkpoint_repeats_by_seed():
    a, b, c = (random_checkpoint(ODD, seed).weights for seed in (5, 5, 6))
    assert all(np.array_equal(a[name], b[name]) for name in a)
    assert not np.array_equal(a["embedding"], c["embedding"])


def test_what_llama2c_cannot_hold(tmp_path):
    cases = [(ODD, "biases"), (dataclasses.replace(TINY, head_dim=8), "head_dim"),
             (dataclasses.replace(TINY, rope_theta=1e6), "rope_theta")]
    for config, word in cases:
        with pytest.raises(SpikeletError, match=word):
            save_llama2c(random_checkpoint(config, 0), tmp_path / "model.bin")


def test_missing_folder_and_empty(tmp_path):
    assert "does not exist" in message(tmp_path / "none.bin")
    assert "folder" in message(tmp_path)
    (tmp_path / "empty.bin").write_bytes(b"")
    assert "empty" in message(tmp_path / "empty.bin")


def test_wrong_lengths_say_both_sizes(tmp_path):
    path = tmp_path / "model.bin"
    save_llama2c(random_checkpoint(TINY, 0), path)
    raw = path.read_bytes()
    for cut in (28, 29, len(raw) // 2, len(raw) - 1):
        path.write_bytes(raw[:cut])
        text = message(path)
        assert "truncated" in text and str(len(raw)) in text and str(cut) in text
    path.write_bytes(raw + b"x")
    text = message(path)
    assert "oversized" in text and str(len(raw)) in text and str(len(raw) + 1) in text
    path.write_bytes(raw[:20])
    assert "header" in message(path)


def test_foreign_files(tmp_path):
    path = tmp_path / "other.bin"
    for content in (b"PK\x03\x04" + bytes(100), b"This is a text about a model." * 9,
                    struct.pack("<7i", 64, 172, 5, 7, 4, 512, 512) + bytes(64),
                    struct.pack("<7i", 64, 172, 5, 8, 4, 0, 512) + bytes(64)):
        path.write_bytes(content)
        assert "does not look like a llama2.c checkpoint" in message(path)
    path.write_bytes(struct.pack("<7i", 0x616B3432, 1, 64, 172, 5, 8, 4) + bytes(64))
    assert "--version 0" in message(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none(tmp_path, bad):
    checkpoint = random_checkpoint(TINY, 0)
    checkpoint.weights["layers.1.wk"][3, 2] = bad
    save_llama2c(checkpoint, tmp_path / "model.bin")
    text = message(tmp_path / "model.bin")
    assert "layers.1.wk" in text and "1 of 128" in text


def test_incomplete_weights_are_refused():
    weights = dict(random_checkpoint(TINY, 0).weights)
    del weights["layers.0.wo"]
    with pytest.raises(SpikeletError, match=r"layers\.0\.wo"):
        Checkpoint(TINY, weights)


@pytest.mark.parametrize("change", [dict(kv_heads=3), dict(head_dim=5), dict(layers=0)])
def test_impossible_shapes(change):
    with pytest.raises(SpikeletError):
        dataclasses.replace(TINY, **change)


def test_story_model():
    shared_file("models/stories260K.bin")
    config = stories().config
    assert config == ModelConfig(dim=64, hidden=172, layers=5, heads=8, kv_heads=4, head_dim=8,
                                 vocab=512, context=512)
    assert config.kv_dim == 32 and config.attention_dim == 64 and config.group == 2
