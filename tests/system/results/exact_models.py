"""Models whose weights are the same bytes on every machine, for results that are recorded.

Weights are bytes of a seeded generator times powers of two, so no library's random numbers and no
rounding of a float take part in them. Shapes are written down here and nowhere else: a recorded
result must not move with the models that other tests choose.
"""

import functools
import random
from dataclasses import replace

import numpy as np

from golden.checkpoints.checkpoint import Checkpoint
from golden.checkpoints.config import Attention, ModelConfig
from golden.quantisation.quantise import QuantisedModel, quantise
from isa.schedule import EXACT_THRESHOLDS, Population

FRACTION = 10  # of their vectors: no calibration takes part

_TINY = ModelConfig(dim=16, hidden=24, layers=2, heads=4, kv_heads=2, head_dim=4, vocab=64,
                    context=32)
_ODD = ModelConfig(dim=40, hidden=52, layers=3, heads=6, kv_heads=2, head_dim=12, vocab=91,
                   context=48, rope_theta=5000.0, norm_epsilon=1e-6, tied=False, qkv_bias=True)
SHAPES = {
    "tiny": _TINY,
    "raised": _TINY,                                        # thresholds that plasticity has raised
    "loud": _TINY,                                          # so large that vectors saturate
    "gate": replace(_TINY, attention=Attention.gate),       # attention without softmax
    "odd": _ODD,                                            # padded heads, biases, untied head
    "odd_gate": replace(_ODD, attention=Attention.gate),
    "wide": ModelConfig(dim=72, hidden=150, layers=2, heads=9, kv_heads=3, head_dim=64, vocab=203,
                        context=64, tied=False, qkv_bias=True),
}
_RAISED = {
    population: tuple(t + (t >> shift) for t in EXACT_THRESHOLDS)
    for population, shift in ((Population.attention, 3), (Population.qkv, 2), (Population.down, 1))
}


@functools.cache
def checkpoint(name: str) -> Checkpoint:
    """The model of this name in SHAPES."""
    config = SHAPES[name]
    weights = {key: _weight(f"{name} {key}", key.rsplit(".", 1)[-1], shape)
               for key, shape in config.weight_shapes().items()}
    if config.tied:
        weights["head"] = weights["embedding"]
    return Checkpoint(config, weights, _RAISED if name == "raised" else {})


@functools.cache
def model(name: str) -> QuantisedModel:
    """Its integers."""
    return quantise(checkpoint(name), fraction=FRACTION)


def prompt(q: QuantisedModel) -> list[int]:
    """Six token ids of a model's vocabulary."""
    return [(7 * n * n + 3 * n + 1) % q.config.vocab for n in range(6)]


def _weight(seed: str, short: str, shape: tuple[int, ...]) -> np.ndarray:
    """Multiples of a power of two, each exact in float32."""
    raw = np.frombuffer(random.Random(seed).randbytes(int(np.prod(shape))), np.int8)
    value = raw.reshape(shape).astype(np.float32)
    if short.endswith("norm"):
        return 1 + value / 256                              # 0.5 to 1.5
    if len(shape) == 1 or short == "embedding":
        return value / 128
    bits = 6 + (shape[1].bit_length() + 1) // 2             # of about the input's variance
    if short in ("wo", "w_down"):
        bits -= 15 if seed.startswith("loud") else 2        # layers outweigh the embedding
    return value / 2.0**bits
