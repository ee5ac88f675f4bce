"""From float weights to the integers that the spiking model, the compiler and the device share.

No training: int8 rows with an 8-bit gain for each output. RMSNorm's weight folds into the columns
of the map that follows; what the norm's mean constant is off is folded in with it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from golden.model.checkpoint import Checkpoint
from golden.model.config import Attention, ModelConfig
from golden.units.functions import Tables, default_tables
from golden.units.norm import NormConstants
from isa.errors import SpikeletError
from isa.formats import (
    ARRIVED_MAXIMUM,
    CODE,
    DROP,
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
class Synapses:
    """A linear map in integers: y1 = saturate(rshift(acc * gain, drop)), value y1 * 2**exponent.

    weight (outputs, inputs) in -127..127; gain (outputs,) in 128..255; drop (outputs,) in 0..63;
    bias (outputs,) in the vector format, or None. y1 cannot saturate, whatever the codes are:
    drop is chosen from each row's sum of |weight|.
    """

    weight: np.ndarray
    gain: np.ndarray
    drop: np.ndarray
    exponent: int
    bias: np.ndarray | None = None

    @property
    def outputs(self) -> int:
        return self.weight.shape[0]

    @property
    def inputs(self) -> int:
        return self.weight.shape[1]

    @property
    def accumulator_bound(self) -> int:
        """Largest |accumulator| that any codes can give."""
        return int(ARRIVED_MAXIMUM * np.abs(self.weight).sum(1).max())


@dataclass(frozen=True)
class Layer:
    qkv: Synapses  # rows: query heads, key heads, value heads
    out: Synapses
    gate: Synapses
    up: Synapses
    down: Synapses


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

    # Constant parts of the POST shifts (golden/units/post.py); dynamic exponents are subtracted.
    def norm_shift(self, synapses: Synapses) -> int:
        """After RMSNorm: less the scalar's exponent; 2 is the root of the mean square's 2**4."""
        return -(MEAN_SQUARE_FRACTION // 2 + synapses.exponent + self.fraction)

    def residual_shift(self, synapses: Synapses) -> int:
        """Plain linear map: less the fired vector's exponent."""
        return UNITY_SHIFT - synapses.exponent

    def mix_shift(self) -> int:
        """Values mixed by attention's weights: softmax divides by a sum of the same fraction."""
        return GATE_FRACTION if self.config.attention is Attention.gate else 0

    def embedding_shift(self) -> int:
        return UNITY_SHIFT - self.embedding.exponent - self.fraction


def _mantissa(value: float) -> tuple[int, int]:
    """value ~= mantissa * 2**-shift with mantissa in 128..255."""
    shift = 7 - math.floor(math.log2(value))
    mantissa = round(value * 2.0**shift)
    return (128, shift - 1) if mantissa == 256 else (mantissa, shift)


def quantise_synapses(
    weight: np.ndarray, bias: np.ndarray | None = None, one_hot: bool = False
) -> Synapses:
    """Rounds each row to int8 at its own gain; `one_hot`: inputs fire once, one at a time."""
    weight = np.asarray(weight, dtype=np.float64)
    peak = np.maximum(np.abs(weight).max(1), 2.0**-60) / CODE.maximum
    e = np.floor(np.log2(peak))
    gain = np.clip(np.round(peak / 2.0**e * 128), 128, 255)
    scale = gain / 128 * 2.0**e
    rows = np.clip(np.round(weight / scale[:, None]), -CODE.maximum, CODE.maximum)
    rows, gain = rows.astype(np.int64), gain.astype(np.int64)
    e = (e - UNITY_SHIFT).astype(np.int64)
    silent = ~rows.any(1)
    top = int(e[~silent].max()) if (~silent).any() else 0
    e[silent] = top
    if one_hot:
        bound = np.abs(rows).max(1) * gain
    else:
        bound = ARRIVED_MAXIMUM * np.abs(rows).sum(1) * gain
    # The guard keeps the largest possible y1 inside the vector format, for every row.
    bits = [int(b + (b >> 16)).bit_length() for b in bound]  # room for rounding up
    spare = [b - (VECTOR.bits - 1) - (top - int(x)) for b, x in zip(bits, e, strict=True)]
    guard = max(0, *spare)
    drop = np.minimum(top - e + guard, DROP.maximum)
    return Synapses(rows, gain, drop, top + guard, bias)


def quantise(
    checkpoint: Checkpoint, fraction: int = DEFAULT_FRACTION, tables: Tables | None = None
) -> QuantisedModel:
    """All integers of a checkpoint, with `fraction` (4..12) fraction bits in vectors."""
    if not 4 <= fraction <= DEFAULT_FRACTION:
        raise SpikeletError(f"a vector fraction of {fraction} bits is not in 4..12")
    c, w = checkpoint.config, checkpoint.weights
    mean_mantissa, mean_shift = _mantissa(2.0**MEAN_SQUARE_FRACTION / c.dim)
    ratio = mean_mantissa * 2.0**-mean_shift * c.dim / 2.0**MEAN_SQUARE_FRACTION
    epsilon = c.norm_epsilon * 2.0 ** (2 * fraction + MEAN_SQUARE_FRACTION) * ratio
    norm = NormConstants(mean_mantissa, mean_shift, *_mantissa(epsilon))
    correction = math.sqrt(ratio)

    def vector(v: np.ndarray) -> np.ndarray:
        integers = np.round(np.asarray(v, dtype=np.float64) * 2.0**fraction).astype(np.int64)
        if np.abs(integers).max(initial=0) > VECTOR.maximum:
            raise SpikeletError("a bias does not fit the vector format: lower the fraction")
        return integers

    def normed(gain: str, *names: str, biases: tuple[str, ...] = ()) -> Synapses:
        weight = np.concatenate([np.asarray(w[n], dtype=np.float64) for n in names])
        bias = vector(np.concatenate([w[b] for b in biases])) if biases else None
        return quantise_synapses(weight * (np.asarray(w[gain], np.float64) * correction), bias)

    layers = []
    for n in range(c.layers):
        p = f"layers.{n}."
        layers.append(
            Layer(
                qkv=normed(
                    p + "attention_norm", p + "wq", p + "wk", p + "wv",
                    biases=(p + "bq", p + "bk", p + "bv") if c.qkv_bias else (),
                ),
                out=quantise_synapses(w[p + "wo"]),
                gate=normed(p + "mlp_norm", p + "w_gate"),
                up=normed(p + "mlp_norm", p + "w_up"),
                down=quantise_synapses(w[p + "w_down"]),
            )
        )  # fmt: skip
    frequency = c.rope_theta ** -(np.arange(0, c.head_dim, 2) / c.head_dim)
    angle = np.arange(c.context)[:, None] * frequency
    # Scores in log2 units for exp2; as they are for the gate.
    gate = c.attention is Attention.gate
    unit, score_fraction = (1, GATE_FRACTION) if gate else (math.log2(math.e), SCORE_FRACTION)
    score_gain, score_exponent = _mantissa(unit / math.sqrt(c.head_dim))
    score_bits = (c.head_dim * ARRIVED_MAXIMUM * CODE.maximum * score_gain).bit_length()
    score_drop = max(0, score_bits - (VECTOR.bits - 1))
    return QuantisedModel(
        config=c,
        fraction=fraction,
        embedding=quantise_synapses(np.asarray(w["embedding"]).T, one_hot=True),
        layers=tuple(layers),
        head=normed("final_norm", "embedding" if c.tied else "head"),
        cosine=np.round(np.cos(angle) * 2**TRIGONOMETRIC_FRACTION).astype(np.int64),
        sine=np.round(np.sin(angle) * 2**TRIGONOMETRIC_FRACTION).astype(np.int64),
        norm=norm,
        score_gain=score_gain,
        score_drop=score_drop,
        # y1 * 2**(drop - score_exponent) * 2**(q_e + k_e - 2 F) in, score_fraction bits out
        score_shift=UNITY_SHIFT + 2 * fraction - score_fraction + score_exponent - score_drop,
        tables=tables or default_tables(),
        schedules={Population(p): phase_schedule(t, f"trained {p}")
                   for p, t in checkpoint.thresholds.items()},
    )
