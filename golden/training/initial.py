"""Untrained weights."""

import torch

from golden.checkpoints.checkpoint import Checkpoint
from golden.checkpoints.config import ModelConfig


def untrained(config: ModelConfig, seed: int) -> Checkpoint:
    """Random weights from which training starts, float32.

    Rows keep half their input's deviation; what adds to the residual stream is smaller by the
    root of twice the layers; norms are 1 and biases 0.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in config.weight_shapes().items():
        short = name.rpartition(".")[2]
        if short.endswith("norm"):
            value = torch.ones(shape)
        elif short in ("bq", "bk", "bv"):
            value = torch.zeros(shape)
        else:
            deviation = 0.5 if short == "embedding" else 0.5 * shape[-1] ** -0.5
            if short in ("wo", "w_down"):
                deviation /= (2 * config.layers) ** 0.5
            value = torch.randn(shape, generator=generator) * deviation
        weights[name] = value.numpy()
    if config.tied:
        weights["head"] = weights["embedding"]
    return Checkpoint(config, weights)
