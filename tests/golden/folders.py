"""Hugging Face folders of random weights, written by the format's own library."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from golden.checkpoints.checkpoint import Checkpoint

QWEN2 = {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]}
LLAMA = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
BRAINGPT = {"model_type": "braingpt", "architectures": ["BrainGPTForCausalLM"]}
PLACES = {"wq": "self_attn.q_proj", "wk": "self_attn.k_proj", "wv": "self_attn.v_proj",
          "wo": "self_attn.o_proj", "w_gate": "mlp.gate_proj", "w_up": "mlp.up_proj",
          "w_down": "mlp.down_proj", "attention_norm": "input_layernorm",
          "mlp_norm": "post_attention_layernorm"}


def config_json(checkpoint: Checkpoint, kind: dict[str, Any] = QWEN2, **changes) -> dict[str, Any]:
    """config.json as transformers writes it; a change to None leaves the key out."""
    c = checkpoint.config
    values = kind | {
        "hidden_act": "silu", "hidden_size": c.dim, "intermediate_size": c.hidden,
        "num_hidden_layers": c.layers, "num_attention_heads": c.heads,
        "num_key_value_heads": c.kv_heads, "head_dim": c.head_dim, "vocab_size": c.vocab,
        "max_position_embeddings": c.context, "rope_theta": c.rope_theta,
        "rms_norm_eps": c.norm_epsilon, "tie_word_embeddings": c.tied, "use_sliding_window": False,
        "sliding_window": 8, "rope_scaling": None,
    } | changes  # fmt: skip
    return {key: value for key, value in values.items()
            if key not in changes or changes[key] is not None}


def rotate_half_order(rows: np.ndarray, head_dim: int) -> np.ndarray:
    """Row by row: of each head first the even ones, then the odd ones."""
    order = [head + i for head in range(0, len(rows), head_dim)
             for i in (*range(0, head_dim, 2), *range(1, head_dim, 2))]
    return rows[order]


def tensors(checkpoint: Checkpoint, wrapped: bool = False) -> dict[str, torch.Tensor]:
    """The weights under Qwen2's and Llama's names, or with BrainGPT's wrapper."""
    layer = ".layer" if wrapped else ""
    found = {}
    for name, value in checkpoint.weights.items():
        if name == "head" and checkpoint.config.tied:
            continue
        prefix, _, short = name.rpartition(".")
        if short in ("wq", "wk", "bq", "bk"):
            value = rotate_half_order(value, checkpoint.config.head_dim)
        if name == "embedding":
            name = f"model.embed_tokens{layer}.weight"
        elif name in ("final_norm", "head"):
            name = {"final_norm": "model.norm.weight", "head": "lm_head.weight"}[name]
        else:
            inside = "" if short.endswith("norm") else layer
            leaf = "bias" if short[0] == "b" else "weight"
            name = f"model.{prefix}.{PLACES['w' + short[1:] if short[0] == 'b' else short]}"
            name += f"{inside}.{leaf}"
        found[name] = torch.tensor(value)
    return found


def write_folder(folder: Path, checkpoint: Checkpoint, kind: dict[str, Any] = QWEN2,
                 dtype: torch.dtype = torch.float32, shards: int = 1,
                 more: dict[str, torch.Tensor] | None = None, **changes) -> Path:
    """A folder as transformers writes it; `more` tensors, and `changes` to config.json."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config_json(checkpoint, kind, **changes)))
    found = {name: value.to(dtype) for name, value in
             tensors(checkpoint, wrapped=kind is BRAINGPT).items()} | (more or {})
    if shards == 1:
        save_file(found, folder / "model.safetensors", {"format": "pt"})
        return folder
    names, where = list(found), {}
    for n in range(shards):
        file = f"model-{n + 1:05}-of-{shards:05}.safetensors"
        save_file({name: found[name] for name in names[n::shards]}, folder / file)
        where |= dict.fromkeys(names[n::shards], file)
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": 1}, "weight_map": where}))
    return folder
