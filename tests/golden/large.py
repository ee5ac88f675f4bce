"""Random checkpoints in Qwen2's form as bfloat16 files, of any size, written tensor by tensor."""

import json
import math
import struct
from pathlib import Path

import numpy as np
import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from golden.checkpoints.checkpoint import Checkpoint
from golden.checkpoints.config import ModelConfig
from tests.golden.folders import PLACES, config_json

# Qwen2-0.5B: 494 million parameters.
HALF_BILLION = ModelConfig(dim=896, hidden=4864, layers=24, heads=14, kv_heads=2, head_dim=64,
                           vocab=151_936, context=131_072, rope_theta=1e6, norm_epsilon=1e-6,
                           tied=True, qkv_bias=True)
# The same with a sixteenth of the width and of the vocabulary, and three layers.
SCALED_DOWN = ModelConfig(dim=56, hidden=304, layers=3, heads=14, kv_heads=2, head_dim=4,
                          vocab=9_496, context=8_192, rope_theta=1e6, norm_epsilon=1e-6,
                          tied=True, qkv_bias=True)
CHUNK = 1 << 22  # numbers made at a time


def _file_name(name: str) -> str:
    prefix, _, short = name.rpartition(".")
    if not prefix:
        return {"embedding": "model.embed_tokens.weight", "final_norm": "model.norm.weight",
                "head": "lm_head.weight"}[name]
    if short[0] == "b":
        return f"model.{prefix}.{PLACES['w' + short[1:]]}.bias"
    return f"model.{prefix}.{PLACES[short]}.weight"


def _spread(name: str, shape: tuple[int, ...], layers: int) -> float:
    """Standard deviation with which activations have realistic sizes, as in random_checkpoint."""
    short = name.rsplit(".", 1)[-1]
    if short in ("bq", "bk", "bv"):
        return 0.5
    if short == "embedding":
        return 0.03  # the head too: logits of about 1
    residual = (2 * layers) ** -0.5
    factor = {"wq": 1.5, "wk": 1.5, "wo": residual, "w_down": 2 * residual, "head": 2.0}
    return factor.get(short, 1.0) / math.sqrt(shape[-1])


def write_random_qwen2(folder: Path, config: ModelConfig, seed: int) -> Path:
    """config.json, random bfloat16 weights, and a tokenizer.json of single bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    library = tokenizers.Tokenizer(models.BPE({piece: n for n, piece in enumerate(alphabet)}, []))
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    library.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps(config_json(Shape(config))))
    shapes = config.weight_shapes()
    if config.tied:
        del shapes["head"]
    header, at = {}, 0
    for name, shape in shapes.items():
        end = at + 2 * math.prod(shape)
        header[_file_name(name)] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    random = np.random.default_rng(seed)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes.items():
            left, spread = math.prod(shape), _spread(name, shape, config.layers)
            while left:
                count = min(left, CHUNK)
                values = random.standard_normal(count, dtype=np.float32) * np.float32(spread)
                if name.endswith("norm"):
                    values = np.clip(1 + values / 4, 0.5, 1.5)
                file.write((values.view(np.uint32) >> 16).astype("<u2"))
                left -= count
    return folder


class Shape(Checkpoint):
    """A checkpoint without weights, for what needs only its shape."""

    def __init__(self, config: ModelConfig) -> None:
        object.__setattr__(self, "config", config)
        object.__setattr__(self, "thresholds", {})
