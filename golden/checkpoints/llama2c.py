"""The llama2.c checkpoint file (its first version, `model.bin`), read and written.

It begins with seven little-endian int32: dim, hidden, layers, heads, kv_heads, vocab, context; a
negative vocab says that the head is not tied. Then come float32 weights, each kind for all layers
together, and two tables of the rotary embedding that readers ignore. Source: karpathy/llama2.c,
run.c.
"""

import struct
from pathlib import Path

import numpy as np

from golden.checkpoints.config import ModelConfig
from isa.errors import SpikeletError

HEADER = struct.Struct("<7i")
LATER_VERSION_MAGIC = 0x616B3432
LARGEST_SIZES = dict(dim=1 << 17, hidden=1 << 19, layers=1 << 10, heads=1 << 12, kv_heads=1 << 12,
               vocab=1 << 20, context=1 << 20)
STACKED = ("attention_norm", "wq", "wk", "wv", "wo", "mlp_norm", "w_gate", "w_down", "w_up")


def _layout(config: ModelConfig) -> list[tuple[str, tuple[int, ...]]]:
    """Name and shape of every block in the order of the file; rope tables have empty names."""
    shapes = config.weight_shapes()
    blocks = [("embedding", shapes["embedding"])]
    blocks += [(name, (config.layers, *shapes[f"layers.0.{name}"])) for name in STACKED]
    blocks.append(("final_norm", shapes["final_norm"]))
    blocks += [("", (config.context, config.head_dim // 2))] * 2
    if not config.tied:
        blocks.append(("head", shapes["head"]))
    return blocks


def _config(path: Path, header: bytes) -> ModelConfig:
    dim, hidden, layers, heads, kv_heads, vocab, context = fields = HEADER.unpack(header)
    foreign = SpikeletError(f"{path} does not look like a llama2.c checkpoint (its header reads "
                            f"{', '.join(map(str, fields))}): give a llama2.c model.bin")
    if dim == LATER_VERSION_MAGIC:
        raise SpikeletError(f"{path} is a llama2.c file of a later version: export it with "
                            "--version 0")
    sizes = dict(dim=dim, hidden=hidden, layers=layers, heads=heads, kv_heads=kv_heads,
                 vocab=abs(vocab), context=context)
    if any(not 1 <= sizes[name] <= LARGEST_SIZES[name] for name in sizes):
        raise foreign
    if dim % heads or (dim // heads) % 2 or heads % kv_heads:
        raise foreign
    return ModelConfig(**sizes, head_dim=dim // heads, tied=vocab > 0)


def read(path: Path) -> tuple[ModelConfig, dict[str, np.ndarray]]:
    """Config and canonical weights of a llama2.c file.

    Raises:
        SpikeletError: an empty, truncated, oversized or foreign file.
    """
    found = path.stat().st_size
    if found == 0:
        raise SpikeletError(f"checkpoint {path} is empty: fetch the file again")
    if found < HEADER.size:
        raise SpikeletError(f"{path} does not look like a llama2.c checkpoint: it has {found} "
                            f"bytes, the header alone has {HEADER.size}")
    with path.open("rb") as file:
        config = _config(path, file.read(HEADER.size))
        blocks = _layout(config)
        expected = HEADER.size + 4 * sum(int(np.prod(shape)) for _, shape in blocks)
        if found < expected:
            raise SpikeletError(f"checkpoint {path} is truncated: its header asks for {expected} "
                                f"bytes, the file has {found}; fetch the file again")
        if found > expected:
            raise SpikeletError(f"checkpoint {path} is oversized: its header asks for {expected} "
                                f"bytes, the file has {found}; it is damaged or no llama2.c file")
        weights = {}
        for name, shape in blocks:
            values = np.fromfile(file, "<f4", int(np.prod(shape))).reshape(shape)
            if name in STACKED:
                for n in range(config.layers):
                    weights[f"layers.{n}.{name}"] = values[n]
            elif name:
                weights[name] = values
    if config.tied:
        weights["head"] = weights["embedding"]
    return config, weights


def write(config: ModelConfig, weights: dict[str, np.ndarray], path: Path) -> None:
    """Writes a llama2.c file; SpikeletError where the format cannot hold the model."""
    if config.qkv_bias:
        raise SpikeletError("a llama2.c file cannot hold q, k and v biases")
    if config.heads * config.head_dim != config.dim:
        raise SpikeletError(f"a llama2.c file cannot hold a head_dim of {config.head_dim}: it "
                            f"takes dim / heads = {config.dim}/{config.heads}")
    if config.rope_theta != 10000.0 or config.norm_epsilon != 1e-5:
        raise SpikeletError("a llama2.c file cannot hold another rope_theta or norm_epsilon than "
                            "10000 and 1e-5")
    with path.open("wb") as file:
        file.write(HEADER.pack(config.dim, config.hidden, config.layers, config.heads,
                               config.kv_heads, config.vocab if config.tied else -config.vocab,
                               config.context))
        for name, shape in _layout(config):
            if name in STACKED:
                values = np.stack([weights[f"layers.{n}.{name}"] for n in range(config.layers)])
            else:
                values = weights[name] if name else np.zeros(shape)
            file.write(values.astype("<f4").tobytes())
