"""From float weights to the integers that the spiking model, the compiler and the device share.

No training is needed: each output has an int8 row and an 8-bit gain. RMSNorm's weight is folded
into the columns of the map behind it, and so is the rounding error of the norm's mean constant.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

import numpy as np

from golden.checkpoints.checkpoint import Checkpoint
from golden.checkpoints.config import Attention, ModelConfig
from golden.quantisation.synapses import Synapses, outlined, quantise_picked, quantise_synapses
from golden.units.functions import Tables, default_tables
from golden.units.norm import NormConstants
from isa.errors import SpikeletError
from isa.formats import (
    ARRIVED_MAXIMUM,
    CODE,
    GATE_FRACTION,
    MEAN_SQUARE_FRACTION,
    SCORE_FRACTION,
    TRIGONOMETRIC_FRACTION,
    UNITY_SHIFT,
    VECTOR,
)
from isa.schedule import Population, Schedule, phase_schedule

DEFAULT_FRACTION = 12


@dataclass(frozen=True)
class Layer:
    """A layer's maps, under their names in golden/decoder.py."""

    qkv: Synapses  # rows: query heads, key heads, value heads
    out: Synapses
    gate: Synapses
    up: Synapses
    down: Synapses

    def outline(self) -> "Layer":
        """The same layer with the outlines of its maps."""
        return Layer(*(getattr(self, f.name).outline() for f in fields(self)))


@dataclass(frozen=True)
class QuantisedModel:
    """Every integer of a model. Vectors have `fraction` fraction bits."""

    config: ModelConfig
    fraction: int
    embedding: Synapses  # inputs: tokens (one fires once); outputs: dim; drop may be 0
    layers: tuple[Layer, ...]
    head: Synapses
    cosine: np.ndarray  # (context, head_dim / 2) at 10 fraction bits
    sine: np.ndarray
    norm: NormConstants
    score_gain: int  # score = rshift(acc * gain, drop) * 2**(key and query exponents - score_shift)
    score_drop: int
    score_shift: int
    tables: Tables
    schedules: Mapping[Population, Schedule] = field(default_factory=dict)  # raised thresholds

    # The constant part of each epilogue's shift (golden/units/post.py), from which the exponents of
    # vectors and scalars are subtracted at run time.
    def norm_shift(self, synapses: Synapses) -> int:
        """Of a map behind RMSNorm; the scalar's exponent is subtracted.

        The mean square has 4 fraction bits, its root 2.
        """
        return -(MEAN_SQUARE_FRACTION // 2 + synapses.exponent + self.fraction)

    def residual_shift(self, synapses: Synapses) -> int:
        """Of a map into the residual stream; the fired vector's exponent is subtracted."""
        return UNITY_SHIFT - synapses.exponent

    def mix_shift(self) -> int:
        """Of mixed values. Softmax divides by a sum with the weights' own fraction bits, so they
        cancel; the gate divides by a number of positions."""
        return GATE_FRACTION if self.config.attention is Attention.gate else 0

    def embedding_shift(self) -> int:
        """Of the embedding, whose tokens have no exponent."""
        return UNITY_SHIFT - self.embedding.exponent - self.fraction


def _mantissa(value: float) -> tuple[int, int]:
    """value ~= mantissa * 2**-shift with mantissa in 128..255."""
    shift = 7 - math.floor(math.log2(value))
    mantissa = round(value * 2.0**shift)
    return (128, shift - 1) if mantissa == 256 else (mantissa, shift)


def quantise_embedding(checkpoint: Checkpoint) -> Synapses:
    """The embedding, a map whose inputs are tokens."""
    return quantise_picked(checkpoint.weights["embedding"])


def _normed(checkpoint: Checkpoint, gain: str, *names: str, bias: np.ndarray | None = None
            ) -> Synapses:
    """A map behind an RMSNorm, whose weight `gain` and mean constant fold into its columns."""
    w = checkpoint.weights
    columns = np.asarray(w[gain], np.float64) * math.sqrt(_mean_constant(checkpoint.config.dim)[2])
    weight = w[names[0]] if len(names) == 1 else np.concatenate([w[n] for n in names])
    return quantise_synapses(weight, bias, columns)


def quantise_head(checkpoint: Checkpoint) -> Synapses:
    """The map from the last residual vector to the logits."""
    return _normed(checkpoint, "final_norm", "embedding" if checkpoint.config.tied else "head")


def quantise_layer(checkpoint: Checkpoint, n: int, fraction: int) -> Layer:
    """The maps of layer n. Only its biases depend on the fraction.

    Raises:
        SpikeletError: a bias that the vector format cannot hold at this fraction.
    """
    w, p, bias = checkpoint.weights, f"layers.{n}.", None
    if checkpoint.config.qkv_bias:
        values = np.concatenate([w[p + name] for name in ("bq", "bk", "bv")]).astype(np.float64)
        bias = np.round(values * 2.0**fraction).astype(np.int64)
        if np.abs(bias).max(initial=0) > VECTOR.maximum:
            raise SpikeletError("a bias does not fit the vector format: lower the fraction")
    return Layer(
        qkv=_normed(checkpoint, p + "attention_norm", p + "wq", p + "wk", p + "wv", bias=bias),
        out=quantise_synapses(w[p + "wo"]),
        gate=_normed(checkpoint, p + "mlp_norm", p + "w_gate"),
        up=_normed(checkpoint, p + "mlp_norm", p + "w_up"),
        down=quantise_synapses(w[p + "w_down"]),
    )


def _mean_constant(dim: int) -> tuple[int, int, float]:
    """(mantissa, shift) of 1 / dim for a mean square, and mantissa * 2**-shift over 1 / dim."""
    mantissa, shift = _mantissa(2.0**MEAN_SQUARE_FRACTION / dim)
    return mantissa, shift, mantissa * 2.0**-shift * dim / 2.0**MEAN_SQUARE_FRACTION


def outline(
    checkpoint: Checkpoint, fraction: int = DEFAULT_FRACTION, tables: Tables | None = None
) -> QuantisedModel:
    """The model of `quantise` with everything but its maps, which are `Synapses.outline`s."""
    if not 4 <= fraction <= DEFAULT_FRACTION:
        raise SpikeletError(f"a vector fraction of {fraction} bits is not in 4..12")
    c = checkpoint.config
    mean_mantissa, mean_shift, ratio = _mean_constant(c.dim)
    epsilon = c.norm_epsilon * 2.0 ** (2 * fraction + MEAN_SQUARE_FRACTION) * ratio
    frequency = c.rope_theta ** -(np.arange(0, c.head_dim, 2) / c.head_dim)
    angle = np.arange(c.context)[:, None] * frequency
    # Scores in log2 units for exp2; as they are for the gate.
    gate = c.attention is Attention.gate
    unit, score_fraction = (1, GATE_FRACTION) if gate else (math.log2(math.e), SCORE_FRACTION)
    score_gain, score_exponent = _mantissa(unit / math.sqrt(c.head_dim))
    score_bits = (c.head_dim * ARRIVED_MAXIMUM * CODE.maximum * score_gain).bit_length()
    score_drop = max(0, score_bits - (VECTOR.bits - 1))
    qkv = c.attention_dim + 2 * c.kv_dim
    layer = Layer(
        qkv=outlined(qkv, c.dim, np.zeros(qkv, np.int64) if c.qkv_bias else None),
        out=outlined(c.dim, c.attention_dim),
        gate=outlined(c.hidden, c.dim),
        up=outlined(c.hidden, c.dim),
        down=outlined(c.dim, c.hidden),
    )
    return QuantisedModel(
        config=c,
        fraction=fraction,
        embedding=outlined(c.dim, c.vocab),
        layers=(layer,) * c.layers,
        head=outlined(c.vocab, c.dim),
        cosine=np.round(np.cos(angle) * 2**TRIGONOMETRIC_FRACTION).astype(np.int64),
        sine=np.round(np.sin(angle) * 2**TRIGONOMETRIC_FRACTION).astype(np.int64),
        norm=NormConstants(mean_mantissa, mean_shift, *_mantissa(epsilon)),
        score_gain=score_gain,
        score_drop=score_drop,
        # y1 * 2**(drop - score_exponent) * 2**(q_e + k_e - 2 F) in, score_fraction bits out
        score_shift=UNITY_SHIFT + 2 * fraction - score_fraction + score_exponent - score_drop,
        tables=tables or default_tables(),
        schedules={Population(p): phase_schedule(t, f"trained {p}")
                   for p, t in checkpoint.thresholds.items()},
    )


def quantise(
    checkpoint: Checkpoint, fraction: int = DEFAULT_FRACTION, tables: Tables | None = None
) -> QuantisedModel:
    """All integers of a checkpoint, with `fraction` (4..12) fraction bits in vectors."""
    return replace(
        outline(checkpoint, fraction, tables),
        embedding=quantise_embedding(checkpoint),
        layers=tuple(quantise_layer(checkpoint, n, fraction)
                     for n in range(checkpoint.config.layers)),
        head=quantise_head(checkpoint),
    )
