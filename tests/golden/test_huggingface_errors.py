"""Hugging Face folders that are wrong: one line each."""

import json
import os
import re

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from golden.checkpoints.checkpoint import load_checkpoint, random_checkpoint, save_checkpoint
from isa.errors import SpikeletError
from tests.golden.folders import BRAINGPT, LLAMA, write_folder
from tests.golden.models import ODD, TINY
from tests.seeds import generator, seed


def message(folder, access: str | None = None) -> str:
    with pytest.raises(SpikeletError) as caught:
        checkpoint = load_checkpoint(folder)
        assert access is not None
        checkpoint.weights[access]
    text = str(caught.value)
    assert "\n" not in text
    return text


CONFIGS = {
    "architecture": (dict(model_type="gpt2"), "unknown architecture 'gpt2'"),
    "class": (dict(architectures=["Qwen2ForSequenceClassification"]), "ForSequenceClassification"),
    "no architecture": (dict(model_type=None, architectures=None), "unknown architecture 'None'"),
    "activation": (dict(hidden_act="gelu"), "hidden_act 'gelu'"),
    "rope scaling": (dict(rope_scaling={"type": "yarn", "factor": 4.0}), "rope scaling .*'yarn'"),
    "rope parameters": (dict(rope_parameters={"rope_type": "llama3", "rope_theta": 5e5}),
                        "rope scaling .*'llama3'"),
    "partial": (dict(partial_rotary_factor=0.5), "partial rotary"),
    "window": (dict(use_sliding_window=True), "sliding window"),
    "window by layer": (dict(layer_types=["full_attention", "sliding_attention"]),
                        "sliding window"),
    "quantised": (dict(quantization_config={"bits": 4}), "quantised weights"),
    "MLP biases": (dict(mlp_bias=True), "mlp_bias"),
    "missing size": (dict(hidden_size=None), "does not say hidden_size"),
    "text as a size": (dict(hidden_size="wide"), 'hidden_size "wide"'),
    "true as a size": (dict(num_hidden_layers=True), "num_hidden_layers true"),
    "negative": (dict(vocab_size=-1), "vocab_size -1"),
    "huge": (dict(num_hidden_layers=10**12), "num_hidden_layers 1000000000000"),
    "theta": (dict(rope_theta=0), "rope_theta 0"),
    "theta without end": (dict(rope_theta=10**400), "rope_theta 1000"),
    "lists as names": (dict(model_type=None, architectures=[["x"]]), "unknown architecture"),
    "epsilon": (dict(rms_norm_eps=float("nan")), "rms_norm_eps NaN"),
    "odd heads": (dict(head_dim=3), "even head_dim"),
    "uneven heads": (dict(num_key_value_heads=3), "share 3 key/value heads"),
    "dim by heads": (dict(head_dim=None, num_attention_heads=3), "num_attention_heads 3"),
    "more layers": (dict(num_hidden_layers=3), "num_hidden_layers 3, they have 2"),
    "fewer layers": (dict(num_hidden_layers=1), "num_hidden_layers 1, they have 2"),
    "another width": (dict(intermediate_size=25), r"contradicts .*mlp\.gate_proj.* \(24, 16\)"),
    "another vocabulary": (dict(vocab_size=65), r"contradicts .*\(64, 16\), .*\(65, 16\)"),
    "head that is not there": (dict(tie_word_embeddings=False), r"lacks lm_head\.weight"),
    "biases that are not there": (dict(attention_bias=True), "lacks .*bias and 5 more"),
}  # fmt: skip


@pytest.mark.parametrize("case", CONFIGS)
def test_configs(tmp_path, case):
    changes, expected = CONFIGS[case]
    text = message(write_folder(tmp_path, random_checkpoint(TINY, seed()), **changes))
    assert re.search(expected, text), text


@pytest.mark.parametrize("changes, expected", [
    (dict(attention="fast"), "attention 'fast'"),
    (dict(firing_thresholds={"hands": [1] * 8}), "'hands'"),
    (dict(firing_thresholds={"qkv": [86, 43, 22, 11, 6, 3, 2]}), "8 thresholds|eight|not 7"),
    (dict(firing_thresholds={"qkv": [1] * 8}), "lower than"),
    (dict(firing_thresholds={"qkv": [40000] * 8}), "40000"),
    (dict(firing_thresholds={"qkv": [86.5, 43, 22, 11, 6, 3, 2, 1]}), "no whole number"),
    (dict(firing_thresholds={"qkv": 5}), "'qkv'"),
])  # fmt: skip
def test_own_keys(tmp_path, changes, expected):
    checkpoint = random_checkpoint(TINY, seed())
    text = message(write_folder(tmp_path, checkpoint, BRAINGPT, **changes))
    assert re.search(expected, text), text


def test_biases_that_are_not_computed(tmp_path):
    checkpoint = random_checkpoint(ODD, seed())
    text = message(write_folder(tmp_path, checkpoint, LLAMA, attention_bias=False))
    assert "k_proj.bias" in text
    for name in ("self_attn.o_proj.layer.bias", "self_attn.q_norm.weight"):
        more = {f"model.layers.2.{name}": torch.zeros(40)}
        assert name in message(write_folder(tmp_path, checkpoint, BRAINGPT, more=more))


def test_weights_that_are_there_twice(tmp_path):
    more = {"model.layers.0.mlp.up_proj.layer.weight": torch.zeros(24, 16)}
    assert "twice" in message(write_folder(tmp_path, random_checkpoint(TINY, seed()), more=more))


@pytest.mark.parametrize("cut", [0, 1, 2, 30, -1])
def test_truncated_json(tmp_path, cut):
    for name in ("config.json", "model.safetensors.index.json"):
        write_folder(tmp_path, random_checkpoint(TINY, seed()), shards=2)
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:cut])
        text = message(tmp_path)
        assert name in text and "truncated or no JSON" in text


@pytest.mark.parametrize("content", [b"[1]", b"[" * 100_000, b"\xff\xfe{}"])
def test_json_of_another_kind(tmp_path, content):
    write_folder(tmp_path, random_checkpoint(TINY, seed()))
    (tmp_path / "config.json").write_bytes(content)
    assert "no JSON" in message(tmp_path)


def test_missing_parts(tmp_path):
    assert "folder without config.json" in message(tmp_path)
    checkpoint = random_checkpoint(TINY, seed())
    write_folder(tmp_path, checkpoint, shards=2)
    part = tmp_path / "model-00002-of-00002.safetensors"
    raw = part.read_bytes()
    part.unlink()
    assert f"lacks {part.name}" in message(tmp_path)
    part.write_bytes((tmp_path / "model-00001-of-00002.safetensors").read_bytes())
    assert f"{part.name} does not hold model." in message(tmp_path)
    part.write_bytes(raw)
    load_checkpoint(tmp_path)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"lm_head.weight": "../other.safetensors"}}))
    assert "weight_map" in message(tmp_path)
    index.unlink()
    assert "neither model.safetensors nor" in message(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    assert "save it as safetensors" in message(tmp_path)
    assert "give the folder" in message(part) and "give the folder" in message(
        tmp_path / "config.json")


def test_missing_tensors_are_named(tmp_path):
    write_folder(tmp_path, random_checkpoint(TINY, seed()))
    path = tmp_path / "model.safetensors"
    found = load_file(path)
    for name in ("model.layers.1.self_attn.o_proj.weight", "model.norm.weight"):
        del found[name]
    save_file(found, path)
    assert "lacks model.layers.1.self_attn.o_proj.weight and 1 more tensor" in message(tmp_path)


def test_truncated_everywhere(tmp_path):
    """A file cut at any length is refused at once, before a weight is read."""
    rng = generator("truncated safetensors")
    write_folder(tmp_path, random_checkpoint(TINY, seed()))
    path = tmp_path / "model.safetensors"
    raw = path.read_bytes()
    header = int.from_bytes(raw[:8], "little")
    cuts = [0, 5, 8, 9, 7 + header, 8 + header, len(raw) - 1, len(raw) // 2]
    for cut in cuts + [rng.randrange(len(raw)) for _ in range(40)]:
        path.write_bytes(raw[:cut])
        text = message(tmp_path)
        assert "truncated" in text and "model.safetensors" in text, (cut, text)
    path.write_bytes(raw + b"x")
    assert "oversized" in message(tmp_path)


def test_damaged_headers(tmp_path):
    write_folder(tmp_path, random_checkpoint(TINY, seed()))
    path = tmp_path / "model.safetensors"
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header, data = json.loads(raw[8:8 + length]), raw[8 + length:]
    name = "model.norm.weight"

    def check(changed: bytes | dict, expected: str) -> None:
        if isinstance(changed, dict):
            changed = json.dumps(changed).encode()
        path.write_bytes(len(changed).to_bytes(8, "little") + changed + data)
        text = message(tmp_path)
        assert re.search(expected, text), text

    begin, end = header[name]["data_offsets"]
    for entry in (dict(shape=[17]), dict(shape=[16.0]), dict(shape=[-16]), dict(shape="16"),
                  dict(shape=[True] * 16), dict(dtype="F16"), dict(dtype=["F32"]),
                  dict(data_offsets=[begin]), dict(data_offsets=[end, begin]),
                  dict(data_offsets=[None, end])):
        check(header | {name: header[name] | entry}, f"damaged.* {name}")
    for entry in (None, 3, {}, []):
        check(header | {name: entry}, f"damaged.* {name}")
    other = dict(dtype="F32", shape=[16], data_offsets=[begin, end])
    check(header | {"extra": other}, "do not follow")
    check({key: value for key, value in header.items() if key != name}, "do not follow|oversized")
    for changed in (b"[]", b"nonsense", b"\xff" * 40, b"[" * 100_000):
        check(changed, "no JSON object")
    path.write_bytes(b"Once upon a time there was no checkpoint.")
    assert "does not look like a safetensors file" in message(tmp_path)


def test_any_damage_is_one_line_or_harmless(tmp_path):
    rng = generator("damaged folders")
    write_folder(tmp_path, random_checkpoint(ODD, seed()), BRAINGPT, shards=2,
                 firing_thresholds={"qkv": [86, 43, 22, 11, 6, 3, 2, 1]})
    refused = 0
    for path in sorted(tmp_path.iterdir()):
        raw = path.read_bytes()
        header = len(raw) if path.suffix == ".json" else 8 + int.from_bytes(raw[:8], "little")
        for _ in range(150):
            changed = bytearray(raw)
            for _ in range(rng.randrange(1, 4)):
                changed[rng.randrange(header)] = rng.choice(b'0123456789[]{}",:.-e \x00\xff')
            path.write_bytes(changed)
            try:
                load_checkpoint(tmp_path)
            except SpikeletError as error:
                refused += 1
                assert "\n" not in str(error)
        path.write_bytes(raw)
    load_checkpoint(tmp_path)
    assert refused > 300


@pytest.mark.parametrize("dtype", [torch.int8, torch.float64, torch.float8_e4m3fn])
def test_types_that_are_not_read(tmp_path, dtype):
    write_folder(tmp_path, random_checkpoint(TINY, seed()))
    path = tmp_path / "model.safetensors"
    name = "model.layers.0.mlp.up_proj.weight"
    save_file(load_file(path) | {name: torch.zeros(24, 16, dtype=dtype)}, path)
    text = message(tmp_path)
    assert name in text and "is not quantised" in text


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_numbers_that_are_none(tmp_path, bad, dtype):
    checkpoint = random_checkpoint(TINY, seed())
    checkpoint.weights["layers.1.wk"][3, 2] = bad
    write_folder(tmp_path, checkpoint, dtype=dtype)
    text = message(tmp_path, access="layers.1.wk")
    assert "model.layers.1.self_attn.k_proj.weight" in text and "model.safetensors" in text
    assert "1 of 128" in text
    load_checkpoint(tmp_path).weights["layers.0.wk"]
    with pytest.raises(SpikeletError, match=r"layers\.1\.wk.*not saved"):
        save_checkpoint(checkpoint, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_file_that_shrinks_after_loading(tmp_path):
    write_folder(tmp_path, random_checkpoint(TINY, seed()))
    checkpoint = load_checkpoint(tmp_path)
    os.truncate(tmp_path / "model.safetensors", 100)
    with pytest.raises(SpikeletError, match="cannot be read any more"):
        checkpoint.weights["head"]
