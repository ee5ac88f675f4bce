"""Checkpoints: float weights of one model under one canonical naming, whatever file they came from.

Canonical form: float32, matrices (outputs, inputs), and neighbouring elements (2i, 2i+1) of a head
rotate together in the rotary embedding. A loader whose format pairs halves permutes on loading.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from golden.model import llama2c
from golden.model.config import ModelConfig
from isa.errors import SpikeletError
from isa.schedule import Population


@dataclass(frozen=True)
class Checkpoint:
    """A model's shape and its float32 weights, named as `ModelConfig.weight_shapes` names them.

    A tied head is the same array as the embedding under a second name. `thresholds` holds the
    eight firing thresholds (phases 7..0) of the populations in which plasticity has changed them.
    """

    config: ModelConfig
    weights: Mapping[str, np.ndarray]
    thresholds: Mapping[Population, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        expected = self.config.weight_shapes()
        if expected.keys() != self.weights.keys():
            odd = sorted(expected.keys() ^ self.weights.keys())[0]
            raise SpikeletError(f"the checkpoint's weights do not fit its shape: {odd} is missing "
                                "or has no place; use a complete checkpoint")
        for name, shape in expected.items():
            if self.weights[name].shape != shape:
                raise SpikeletError(f"weight {name} is {self.weights[name].shape}, the model's "
                                    f"shape needs {shape}; use a checkpoint of one model")

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
        return {name.removeprefix(prefix): weight for name, weight in self.weights.items()
                if name.startswith(prefix)}


# Tried in order: (does this file look like it, read it). The last one takes every other file, and
# explains why it is not a checkpoint.
Loader = Callable[[Path], tuple[ModelConfig, dict[str, np.ndarray]]]
LOADERS: list[tuple[Callable[[Path], bool], Loader]] = [(lambda path: True, llama2c.read)]


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Reads a checkpoint of any known format (now: llama2.c).

    Raises:
        SpikeletError: one line for a file that is missing, a folder, empty, truncated, oversized,
            of another format, or that holds a weight that is no finite number.
    """
    path = Path(path)
    if not path.exists():
        raise SpikeletError(f"checkpoint {path} does not exist: check the path")
    if path.is_dir():
        raise SpikeletError(f"checkpoint {path} is a folder: give a file")
    try:
        loader = next(read for matches, read in LOADERS if matches(path))
        config, weights = loader(path)
    except OSError as error:
        raise SpikeletError(f"checkpoint {path} cannot be read: {error.strerror}") from error
    for name, weight in weights.items():
        bad = np.count_nonzero(~np.isfinite(weight))
        if bad:
            raise SpikeletError(f"checkpoint {path} is damaged: {bad} of {weight.size} values of "
                                f"{name} are not finite numbers; fetch the file again")
    return Checkpoint(config, weights)


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
