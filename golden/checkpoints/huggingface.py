"""Hugging Face folders of Qwen2, Llama and BrainGPT: config.json and safetensors, read lazily.

BrainGPT wraps each projection, so its weights are `...q_proj.layer.weight`; both spellings are
read, and BrainGPT's is written. In these files the first half of a head rotates with the second;
canonically neighbours rotate together, so the rows of q and k (and their biases) are permuted.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from golden.checkpoints import safetensors_file
from golden.checkpoints.config import ModelConfig
from golden.checkpoints.huggingface_config import ConfigFile, Thresholds, read_config, read_json
from golden.checkpoints.safetensors_file import FLOATS, SafetensorsFile
from isa.errors import SpikeletError

CONFIG, SINGLE, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
OUTER = {"embedding": "model.embed_tokens.layer.weight", "final_norm": "model.norm.weight",
         "head": "lm_head.weight"}
LAYER = {
    "attention_norm": "input_layernorm.weight",
    "wq": "self_attn.q_proj.layer.weight", "bq": "self_attn.q_proj.layer.bias",
    "wk": "self_attn.k_proj.layer.weight", "bk": "self_attn.k_proj.layer.bias",
    "wv": "self_attn.v_proj.layer.weight", "bv": "self_attn.v_proj.layer.bias",
    "wo": "self_attn.o_proj.layer.weight",
    "mlp_norm": "post_attention_layernorm.weight",
    "w_gate": "mlp.gate_proj.layer.weight",
    "w_up": "mlp.up_proj.layer.weight",
    "w_down": "mlp.down_proj.layer.weight",
}  # fmt: skip
ROTATED = ("wq", "wk", "bq", "bk")
# Tensors that change what a model computes and have no place among the canonical weights: who has
# them is refused.
COMPUTED_ELSEWHERE = re.compile(r"\.layers\.\d+\..*(\.bias|[qk]_norm\.weight)$")


def neighbours(rows: np.ndarray, head_dim: int) -> np.ndarray:
    """Rows (heads * head_dim, ...) whose halves pair -> rows whose neighbours pair."""
    heads = rows.reshape(-1, 2, head_dim // 2, *rows.shape[1:])
    return heads.swapaxes(1, 2).reshape(rows.shape)


def halves(rows: np.ndarray, head_dim: int) -> np.ndarray:
    """The inverse of `neighbours`."""
    heads = rows.reshape(-1, head_dim // 2, 2, *rows.shape[1:])
    return heads.swapaxes(1, 2).reshape(rows.shape)


def file_name(name: str) -> str:
    """The tensor's name, as BrainGPT spells it, of a canonical weight."""
    if name in OUTER:
        return OUTER[name]
    path, _, short = name.rpartition(".")
    return f"model.{path}.{LAYER[short]}"


def _plain(name: str) -> str:
    """A tensor's name without BrainGPT's wrapper, so that both spellings are one."""
    return re.sub(r"\.layer\.(weight|bias)$", r".\1", name)


class LazyWeights(Mapping[str, np.ndarray]):
    """Canonical weights that are read from their file, converted and checked at each access.

    `shapes` is known without reading. An access raises SpikeletError where a value is no finite
    number.
    """

    def __init__(self, config: ModelConfig, sources: Mapping[str, tuple[SafetensorsFile, str]]
                 ) -> None:
        self._head_dim, self._sources = config.head_dim, sources
        self.shapes = {name: file.tensors[tensor].shape
                       for name, (file, tensor) in sources.items()}

    def __getitem__(self, name: str) -> np.ndarray:
        file, tensor = self._sources[name]
        value = file.read(tensor)
        return neighbours(value, self._head_dim) if name.endswith(ROTATED) else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)


def read(folder: Path) -> tuple[ModelConfig, LazyWeights, Thresholds, tuple[str, ...]]:
    """Config, weights, trained thresholds and the names of tensors that have no use.

    Raises:
        SpikeletError: one line for a missing, truncated or damaged file, an unknown architecture,
            a feature that is not computed, a config that contradicts the tensors.
        OSError: a file that cannot be read.
    """
    settings = ConfigFile(folder / CONFIG)
    tensors = _open(folder)
    plain: dict[str, str] = {}
    for name in tensors:
        other = plain.setdefault(_plain(name), name)
        if other != name:
            raise SpikeletError(f"checkpoint {folder} holds one weight twice, as {other} and as "
                                f"{name}: use another checkpoint")
    config, thresholds = read_config(
        settings, has_head=_plain(OUTER["head"]) in plain,
        has_bias=_plain(file_name("layers.0.bq")) in plain)
    _check_layers(folder, config, plain)
    shapes = config.weight_shapes()
    wanted = {name: _plain(file_name("embedding" if name == "head" and config.tied else name))
              for name in shapes}
    missing = sorted({name for name in wanted.values() if name not in plain})
    if missing:
        raise SpikeletError(f"checkpoint {folder} lacks {_some(missing)}, which its {CONFIG} asks "
                            "for: give the whole checkpoint")
    sources = {name: (tensors[plain[tensor]], plain[tensor]) for name, tensor in wanted.items()}
    used = {tensor for _, tensor in sources.values()}
    unused = tuple(sorted(tensors.keys() - used))
    for name in unused:
        if COMPUTED_ELSEWHERE.search(name):
            raise SpikeletError(f"checkpoint {folder} holds {name}, which a model of its {CONFIG} "
                                "does not have: use a checkpoint of Qwen2, Llama or BrainGPT")
    for name, (file, tensor) in sources.items():
        found = file.tensors[tensor]
        if found.shape != shapes[name]:
            raise SpikeletError(f"{folder / CONFIG} contradicts {file.path.name}: {tensor} is "
                                f"{found.shape}, the config needs {shapes[name]}; give files of "
                                "one checkpoint")
        if found.dtype not in FLOATS:
            raise SpikeletError(f"{tensor} in {file.path} is of type {found.dtype}, Spikelet reads "
                                f"{', '.join(FLOATS)}: use a checkpoint that is not quantised")
    return config, LazyWeights(config, sources), thresholds, unused


def _some(names: list[str]) -> str:
    return names[0] + (f" and {len(names) - 1} more tensors" if len(names) > 1 else "")


def _check_layers(folder: Path, config: ModelConfig, plain: Mapping[str, str]) -> None:
    """Compares the number of layers first: it explains the tensors that are missing or too many."""
    numbers = {int(found[1]) for name in plain
               if (found := re.match(r"model\.layers\.(\d{1,6})\.", name))}
    layers = max(numbers, default=-1) + 1
    if layers and layers != config.layers:
        raise SpikeletError(f"{folder / CONFIG} contradicts the tensors: it says num_hidden_layers "
                            f"{config.layers}, they have {layers} layers; give files of one "
                            "checkpoint")


def _open(folder: Path) -> dict[str, SafetensorsFile]:
    """The file of every tensor."""
    if (folder / SINGLE).exists():
        file = SafetensorsFile(folder / SINGLE)
        return dict.fromkeys(file.tensors, file)
    if not (folder / INDEX).exists():
        other = " (pytorch_model.bin is not read: save it as safetensors)" if any(
            folder.glob("pytorch_model*.bin")) else ""
        raise SpikeletError(f"checkpoint {folder} has neither {SINGLE} nor {INDEX}{other}: give a "
                            "whole Hugging Face folder")
    index = read_json(folder / INDEX).get("weight_map")
    if not isinstance(index, dict) or not all(isinstance(part, str) and Path(part).name == part
                                              for part in index.values()):
        raise SpikeletError(f"{folder / INDEX} has no weight_map of tensors and files: fetch the "
                            "file again")
    files = {}
    for part in sorted(set(index.values())):
        if not (folder / part).exists():
            raise SpikeletError(f"checkpoint {folder} lacks {part}, which its index names: fetch "
                                "all of its files")
        files[part] = SafetensorsFile(folder / part)
    tensors = {name: file for file in files.values() for name in file.tensors}
    for name, part in index.items():
        if name not in files[part].tensors:
            raise SpikeletError(f"{folder / part} does not hold {name}, as the index says: fetch "
                                "all files of the checkpoint again")
        tensors[name] = files[part]
    return tensors


def write_weights(file: BinaryIO, config: ModelConfig, weights: Mapping[str, np.ndarray]) -> None:
    """Writes weights as float32 under BrainGPT's names, one at a time; a tied head is left out.

    Raises:
        SpikeletError: a value that is no finite number.
    """
    shapes = config.weight_shapes()
    if config.tied:
        del shapes["head"]

    def values() -> Iterator[np.ndarray]:
        for name in shapes:
            value = np.asarray(weights[name], np.float32)
            if not np.isfinite(value).all():
                raise SpikeletError(f"weight {name} holds values that are no finite numbers: it "
                                    "is not saved")
            yield halves(value, config.head_dim) if name.endswith(ROTATED) else value

    named: dict[str, Any] = {file_name(name): shape for name, shape in shapes.items()}
    safetensors_file.write(file, named, values())
