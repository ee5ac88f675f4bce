"""Checkpoints: float weights of one model under one canonical naming, whatever file they came from.

Canonical form: float32, matrices (outputs, inputs), and neighbouring elements (2i, 2i+1) of a head
rotate together in the rotary embedding. A loader whose format pairs halves permutes on loading.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from golden.checkpoints import huggingface, llama2c
from golden.checkpoints.atomic import replace_files
from golden.checkpoints.config import ModelConfig
from golden.checkpoints.huggingface import LazyWeights
from golden.checkpoints.huggingface_config import begin_and_end, config_values
from isa.errors import SpikeletError
from isa.schedule import Population


@dataclass(frozen=True)
class Checkpoint:
    """A model's shape and its float32 weights, named as `ModelConfig.weight_shapes` names them.

    A tied head is the embedding under a second name. Weights of a folder are read anew at each
    access: keep what is used twice, and do not walk through `weights.values()` for names or shapes.
    `thresholds` holds the eight firing thresholds (phases 7..0) of the populations in which
    plasticity has changed them. `unused` names the file's tensors that the model does not need.
    """

    config: ModelConfig
    weights: Mapping[str, np.ndarray]
    thresholds: Mapping[Population, tuple[int, ...]] = field(default_factory=dict)
    unused: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        expected = self.config.weight_shapes()
        if expected.keys() != self.weights.keys():
            odd = sorted(expected.keys() ^ self.weights.keys())[0]
            raise SpikeletError(f"the checkpoint's weights do not fit its shape: {odd} is missing "
                                "or has no place; use a complete checkpoint")
        lazy = isinstance(self.weights, LazyWeights)
        for name, shape in expected.items():
            found = self.weights.shapes[name] if lazy else self.weights[name].shape
            if found != shape:
                raise SpikeletError(f"weight {name} is {found}, the model's shape needs {shape}; "
                                    "use a checkpoint of one model")

    @property
    def embedding(self) -> np.ndarray:
        """(vocab, dim)."""
        return self.weights["embedding"]

    @property
    def final_norm(self) -> np.ndarray:
        """(dim,)."""
        return self.weights["final_norm"]

    @property
    def head(self) -> np.ndarray:
        """(vocab, dim); the embedding where the head is tied."""
        return self.weights["head"]

    def layer(self, n: int) -> dict[str, np.ndarray]:
        """The weights of layer n by their short names: attention_norm, wq, wk, wv, wo, ..."""
        prefix = f"layers.{n}."
        return {name.removeprefix(prefix): self.weights[name] for name in self.weights
                if name.startswith(prefix)}


def _read_llama2c(path: Path) -> Checkpoint:
    config, weights = llama2c.read(path)
    for name, weight in weights.items():
        bad = np.count_nonzero(~np.isfinite(weight))
        if bad:
            raise SpikeletError(f"checkpoint {path} is damaged: {bad} of {weight.size} values of "
                                f"{name} are not finite numbers; fetch the file again")
    return Checkpoint(config, weights)


def _read_folder(path: Path) -> Checkpoint:
    if not (path / huggingface.CONFIG).exists():
        raise SpikeletError(f"checkpoint {path} is a folder without {huggingface.CONFIG}: give a "
                            "Hugging Face folder, or a llama2.c model.bin")
    return Checkpoint(*huggingface.read(path))


def _read_part(path: Path) -> Checkpoint:
    raise SpikeletError(f"checkpoint {path} is one file of a Hugging Face folder: give the folder "
                        f"{path.parent}")


# Pairs of (does the file look like this format, read it), tried in order. The last one takes every
# other file, and says why it is not a checkpoint.
LOADERS: list[tuple[Callable[[Path], bool], Callable[[Path], Checkpoint]]] = [
    (Path.is_dir, _read_folder),
    (lambda path: path.suffix in (".safetensors", ".json"), _read_part),
    (lambda path: True, _read_llama2c),
]


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Reads a llama2.c file, or a Hugging Face folder of Qwen2, Llama or BrainGPT names.

    A folder's weights stay in their files until they are asked for.

    Raises:
        SpikeletError: one line for a file that is missing, empty, truncated, oversized, damaged or
            of another format, for an architecture or a feature that is not computed, for a config
            that contradicts its tensors, and for a weight that is no finite number (in a folder:
            at its access).
    """
    path = Path(path)
    if not path.exists():
        raise SpikeletError(f"checkpoint {path} does not exist: check the path")
    try:
        return next(read for matches, read in LOADERS if matches(path))(path)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise SpikeletError(f"checkpoint {path} cannot be read: {error.strerror}{where}") from error


def save_checkpoint(checkpoint: Checkpoint, folder: str | Path,
                    tokenizer_file: str | Path | None = None,
                    extra: Mapping[str, Any] | None = None) -> None:
    """Writes a folder in our own form: config.json, model.safetensors and the tokenizer's file.

    All is written beside the old files before any of them is replaced: where that fails, the old
    checkpoint is whole. Other files in the folder stay.

    Args:
        tokenizer_file: copied as tokenizer.json, or as tokenizer.bin (llama2.c).
        extra: more for config.json, such as bos_token_id and eos_token_id; by default these two
            come from the config.json beside the tokenizer's file.

    Raises:
        SpikeletError: weights that are no finite numbers, or a folder that cannot be written.
    """
    folder = Path(folder)
    values: dict[str, Any] = {"bos_token_id": None, "eos_token_id": None}
    if tokenizer_file is not None:
        beside = Path(tokenizer_file).parent / huggingface.CONFIG
        values = dict(zip(values, begin_and_end(beside), strict=True))
    values |= dict(extra or {}) | config_values(checkpoint.config, checkpoint.thresholds)
    text = json.dumps(values, indent=2) + "\n"
    writers = {
        huggingface.SINGLE: lambda file: huggingface.write_weights(
            file, checkpoint.config, checkpoint.weights),
        huggingface.CONFIG: lambda file: file.write(text.encode()),
    }
    if tokenizer_file is not None:
        source = Path(tokenizer_file)
        try:
            raw = source.read_bytes()
        except OSError as error:
            raise SpikeletError(f"tokenizer {source} cannot be read: {error.strerror}") from None
        writers[f"tokenizer{source.suffix}"] = lambda file: file.write(raw)
    try:
        replace_files(folder, writers)
    except OSError as error:
        raise SpikeletError(f"cannot save the checkpoint {folder}: {error.strerror or error}; what "
                            "was there before is unchanged") from None


def save_llama2c(checkpoint: Checkpoint, path: str | Path) -> None:
    """Writes a llama2.c file.

    Raises:
        SpikeletError: biases, or a head_dim other than dim / heads, which the format cannot hold.
    """
    llama2c.write(checkpoint.config, checkpoint.weights, Path(path))


def random_checkpoint(config: ModelConfig, seed: int) -> Checkpoint:
    """A checkpoint of any shape with random weights whose activations have realistic sizes.

    Rows keep the variance of their input, a few residual elements are larger than the rest (as in
    trained models), norms scatter around 1 and attention is neither flat nor one-hot.
    """
    rng = np.random.default_rng(seed)
    residual = (2 * config.layers) ** -0.5
    scale = {"wq": 1.5, "wk": 1.5, "wo": residual, "w_down": 2 * residual, "head": 2.0}
    weights = {}
    for name, shape in config.weight_shapes().items():
        short = name.rsplit(".", 1)[-1]
        if short.endswith("norm"):
            value = rng.uniform(0.5, 1.5, shape)
        elif short in ("bq", "bk", "bv"):
            value = rng.normal(0.0, 0.5, shape)
        elif short == "embedding":
            value = rng.normal(0.0, 0.5, shape) * np.exp(rng.normal(0.0, 0.5, shape[1]))
        else:
            value = rng.normal(0.0, scale.get(short, 1.0) / np.sqrt(shape[1]), shape)
        weights[name] = value.astype(np.float32)
    if config.tied:
        weights["head"] = weights["embedding"]
    return Checkpoint(config, weights)
