"""From float weights to the integers that the spiking model, the compiler and the device share.

No training: int8 rows with an 8-bit gain for each output. RMSNorm's weight folds into the columns
of the map that follows; what the norm's mean constant is off is folded in with it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

import numpy as np

from golden.checkpoints.checkpoint import Checkpoint
from golden.checkpoints.config import Attention, ModelConfig
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
CHUNK_ELEMENTS = 1 << 22  # weights that are rounded at a time


@dataclass(frozen=True)
class Synapses:
    """A linear map in integers: y1 = saturate(rshift(acc * gain, drop)), value y1 * 2**exponent.

    weight (outputs, inputs) in -127..127, int8; gain (outputs,) in 128..255; drop (outputs,) in
    0..63; bias (outputs,) in the vector format, or None. y1 cannot saturate, whatever the codes
    are: drop is chosen from each row's sum of |weight|.
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

    def part(self, first: int, end: int) -> "Synapses":
        """The outputs first..end-1; gains, drops and exponent stay as they are."""
        bias = None if self.bias is None else self.bias[first:end]
        return Synapses(self.weight[first:end], self.gain[first:end], self.drop[first:end],
                        self.exponent, bias)

    def outline(self) -> "Synapses":
        """The same map with weights of 0 that take no memory: for what needs only its shape."""
        return replace(self, weight=np.broadcast_to(np.int8(0), self.weight.shape))


@dataclass(frozen=True)
class Layer:
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


def _scale(peak: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(gain, exponent of two, gain / 128 * 2**exponent) of rows whose largest |weight| is `peak`.

    Raises:
        SpikeletError: a weight that is no finite number.
    """
    if not np.isfinite(peak).all():
        raise SpikeletError("the checkpoint is damaged: it has weights that are not finite "
                            "numbers; fetch it again")
    peak = np.maximum(peak, 2.0**-60) / CODE.maximum
    e = np.floor(np.log2(peak))
    gain = np.clip(np.round(peak / 2.0**e * 128), 128, 255)
    return gain.astype(np.int64), (e - UNITY_SHIFT).astype(np.int64), gain / 128 * 2.0**e


def _round(weight: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return np.clip(np.round(weight / scale), -CODE.maximum, CODE.maximum).astype(np.int8)


def _finished(rows: np.ndarray, gain: np.ndarray, e: np.ndarray, bound: np.ndarray,
              bias: np.ndarray | None = None) -> Synapses:
    """Rows at a common exponent; `bound`: largest |accumulator| of each."""
    silent = bound == 0
    top = int(e[~silent].max()) if (~silent).any() else 0
    e[silent] = top
    # The guard keeps the largest possible y1 inside the vector format, for every row.
    bits = [int(b + (b >> 16)).bit_length() for b in bound * gain]  # room for rounding up
    spare = [b - (VECTOR.bits - 1) - (top - int(x)) for b, x in zip(bits, e, strict=True)]
    guard = max(0, *spare)
    drop = np.minimum(top - e + guard, DROP.maximum)
    return Synapses(rows, gain, drop, top + guard, bias)


def quantise_synapses(weight: np.ndarray, bias: np.ndarray | None = None,
                      columns: np.ndarray | None = None) -> Synapses:
    """Rounds each row to int8 at its own gain; `columns` (inputs,) scale the weights before.

    Works on a part of the rows at a time: no float64 copy of a large matrix exists.
    """
    outputs, inputs = weight.shape
    rows = np.empty((outputs, inputs), dtype=np.int8)
    gain, e, sums = (np.empty(outputs, dtype=np.int64) for _ in range(3))
    step = max(1, CHUNK_ELEMENTS // inputs)
    for start in range(0, outputs, step):
        at = slice(start, start + step)
        part = np.asarray(weight[at], dtype=np.float64)
        if columns is not None:
            part = part * columns
        gain[at], e[at], scale = _scale(np.abs(part).max(1))
        rows[at] = _round(part, scale[:, None])
        sums[at] = np.abs(rows[at]).sum(1)
    return _finished(rows, gain, e, ARRIVED_MAXIMUM * sums, bias)


def quantise_embedding(checkpoint: Checkpoint) -> Synapses:
    """The embedding: its inputs are tokens, of which one fires once."""
    embedding = checkpoint.weights["embedding"]  # (vocab, dim)
    step = max(1, CHUNK_ELEMENTS // embedding.shape[1])
    parts = [slice(n, n + step) for n in range(0, len(embedding), step)]
    peak = np.max([np.abs(embedding[at]).max(0) for at in parts], axis=0).astype(np.float64)
    gain, e, scale = _scale(peak)
    rows = np.empty(embedding.shape, dtype=np.int8)
    for at in parts:
        rows[at] = _round(np.asarray(embedding[at], dtype=np.float64), scale)
    largest = np.max([np.abs(rows[at]).max(0) for at in parts], axis=0).astype(np.int64)
    return _finished(rows.T, gain, e, largest)


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


def _outlined(outputs: int, inputs: int, bias: np.ndarray | None = None) -> Synapses:
    ones = np.ones(outputs, np.int64)
    return Synapses(np.broadcast_to(np.int8(0), (outputs, inputs)), 128 * ones, 0 * ones, 0, bias)


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
        qkv=_outlined(qkv, c.dim, np.zeros(qkv, np.int64) if c.qkv_bias else None),
        out=_outlined(c.dim, c.attention_dim),
        gate=_outlined(c.hidden, c.dim),
        up=_outlined(c.hidden, c.dim),
        down=_outlined(c.dim, c.hidden),
    )
    return QuantisedModel(
        config=c,
        fraction=fraction,
        embedding=_outlined(c.dim, c.vocab),
        layers=(layer,) * c.layers,
        head=_outlined(c.vocab, c.dim),
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
