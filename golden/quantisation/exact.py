"""The quantised network's evaluation: every step of the device, carried in float64.

Integers of at most 53 bits are exact in float64, and so are their products with powers of two: a
shift is a product, a rounded shift is floor(product + 1/2). Nothing here is shared with
golden/spiking_model but the order of the operators (golden/decoder.py) and the neuron's step
(golden/units/neuron.py), so that one checks the other.
"""

import torch
from torch import Tensor

from golden.checkpoints.config import Attention
from golden.decoder import LAYER_MAPS, MAPS, full_name
from golden.quantisation.quantise import QuantisedModel
from golden.quantisation.synapses import Synapses
from golden.units.attention import MAXIMUM_ALIGNMENT
from golden.units.functions import SILU_LIMIT, Tables
from golden.units.neuron import sums_and_counts
from isa.formats import (
    CODE,
    EXP2_CLAMP,
    EXP2_PIECES,
    MAXIMUM_LEFT_SHIFT,
    RECIPROCAL_ENTRIES,
    SCORE_FRACTION,
    SILU_FRACTION,
    SILU_PIECES,
    SILU_SLOPE_FRACTION,
    TRIGONOMETRIC_FRACTION,
    UNITY_MANTISSA,
    VECTOR,
)
from isa.schedule import Population

ShiftedCodes = tuple[Tensor, Tensor, Tensor]  # code, what arrives of it, the exponent of both


def half_up(value: Tensor, shift: Tensor | int) -> Tensor:
    """value * 2**-shift rounded half up."""
    return torch.floor(value * torch.exp2(-torch.as_tensor(shift, dtype=torch.float64)) + 0.5)


def clip(value: Tensor) -> Tensor:
    """Saturated to the vector format."""
    return value.clamp(-VECTOR.maximum, VECTOR.maximum)


def bits(value: Tensor) -> Tensor:
    """Bit length of non-negative integers, float64."""
    return torch.frexp(value)[1].to(torch.float64)


def real(array) -> Tensor:
    """An integer array as a float64 tensor."""
    return torch.as_tensor(array).to(torch.float64)


class ExactArithmetic:
    """The decoder's operators in integers. Vectors are (B, T, elements)."""

    def __init__(self, integers: QuantisedModel) -> None:
        self.model, self.config, self.tables = integers, integers.config, integers.tables
        self.maps = {"logits": integers.head}
        for n, layer in enumerate(integers.layers):
            self.maps |= {full_name(n, name): getattr(layer, name) for name in LAYER_MAPS}

    def embed(self, ids: Tensor) -> Tensor:
        """ids (B, T) -> (B, T, dim)."""
        s = self.model.embedding
        rows = real(s.weight).T[ids]
        return self._post(rows, s, UNITY_MANTISSA, self.model.embedding_shift())

    def fire(self, value: Tensor, population: Population | None) -> ShiftedCodes:
        """The codes of vectors over the last axis; None: nothing is lost on the way."""
        exponent = bits(value.abs().amax(-1, keepdim=True)) - (CODE.bits - 1)
        code = half_up(value.abs(), exponent).clamp(max=CODE.maximum) * value.sign()
        arrived = code
        if population in self.model.schedules:
            steps = self.model.schedules[population].steps
            arrived = real(sums_and_counts(code.long(), steps)[0])
        return code, arrived, exponent

    def _post(self, acc: Tensor, s: Synapses, mantissa, shift, residual=0.0) -> Tensor:
        y = clip(half_up(acc * real(s.gain), real(s.drop)))
        y = self._scale(y * mantissa, shift)
        if s.bias is not None:
            y = clip(y + real(s.bias))
        return clip(y + residual)

    def _scale(self, value: Tensor, shift: Tensor | int) -> Tensor:
        shift = torch.as_tensor(shift, dtype=torch.float64).clamp(min=-MAXIMUM_LEFT_SHIFT)
        return clip(half_up(value, shift))

    def normed(self, x: Tensor, n: int | None, maps: tuple[str, ...]) -> list[Tensor]:
        """Linear maps of the fired vector, its root mean square as the scalar behind them."""
        code, arrived, exponent = self.fire(x, MAPS[maps[0]].population)
        c = self.model.norm
        mean = half_up((code * arrived).sum(-1, keepdim=True) * c.mean_mantissa, c.mean_shift)
        shift = (c.epsilon_shift + 2 * exponent).clamp(min=-MAXIMUM_LEFT_SHIFT)
        epsilon = half_up(torch.full_like(shift, c.epsilon_mantissa), shift)
        value = (mean + epsilon).clamp(1, 2**32 - 1)
        length = bits(value)
        length = length + length % 2
        mantissa = real(self.tables.rsqrt)[torch.floor(value * torch.exp2(8 - length)).long()]
        root = -length / 2 - 7
        found = [self.maps[full_name(n, name)] for name in maps]
        return [self._post(arrived @ real(s.weight).T, s, mantissa,
                           self.model.norm_shift(s) - root) for s in found]

    def residual(self, vector: Tensor, n: int, name: str, x: Tensor) -> Tensor:
        """A linear map of the fired vector, added to the residual stream."""
        _, arrived, exponent = self.fire(vector, MAPS[name].population)
        s = self.maps[full_name(n, name)]
        return self._post(arrived @ real(s.weight).T, s, UNITY_MANTISSA,
                          self.model.residual_shift(s) - exponent, x)

    def _rotate(self, z: Tensor) -> Tensor:
        T, a, b = z.shape[-2], z[..., 0::2], z[..., 1::2]
        cosine, sine = real(self.model.cosine)[:T], real(self.model.sine)[:T]
        pairs = [a * cosine - b * sine, a * sine + b * cosine]
        return clip(half_up(torch.stack(pairs, -1).flatten(-2), TRIGONOMETRIC_FRACTION))

    def attend(self, qkv: Tensor, n: int) -> Tensor:
        """(B, T, (H + 2 K) hd) -> mixed (B, T, H hd)."""
        m, c, (B, T, _) = self.model, self.config, qkv.shape
        heads = qkv.view(B, T, -1, c.head_dim).transpose(1, 2)
        q, k, v = heads.split((c.heads, c.kv_heads, c.kv_heads), 1)      # (B, H or K, T, hd)
        _, q, q_e = self.fire(self._rotate(q), Population.attention)
        k, _, k_e = self.fire(self._rotate(k), None)
        v, _, v_e = self.fire(v, None)
        alignment = v_e.cummax(2).values                                 # (B, K, T, 1)
        k, k_e, v, v_e, alignment = (z.repeat_interleave(c.group, 1)
                                     for z in (k, k_e, v, v_e, alignment))
        causal = torch.ones(T, T, dtype=torch.bool).tril()
        score = clip(half_up((q @ k.mT) * m.score_gain, m.score_drop))   # (B, H, T, T)
        score = self._scale(score * UNITY_MANTISSA, m.score_shift - q_e - k_e.mT)
        weight, total = self._weights(score, causal)
        length = bits(total)
        reciprocal = real(self.tables.reciprocal)
        mantissa = reciprocal[torch.floor(total * torch.exp2(8 - length)).long()
                              - RECIPROCAL_ENTRIES]
        away = (alignment - v_e.mT).clamp(0, MAXIMUM_ALIGNMENT)
        _, weight, p_e = self.fire(half_up(weight, away), Population.attention)
        mixed = clip(weight @ v)  # gain 128 and drop 7 change nothing
        mixed = self._scale(mixed * mantissa, m.mix_shift() - (p_e - length - 7 + alignment))
        return mixed.transpose(1, 2).flatten(2)

    def _weights(self, score: Tensor, causal: Tensor) -> tuple[Tensor, Tensor]:
        """Weights of positions before division (B, H, T, T), and what they are divided by."""
        if self.config.attention is Attention.gate:
            reach = torch.arange(1, len(causal) + 1, dtype=torch.float64)[:, None]
            return score.clamp(min=0) * causal, reach.expand(*score.shape[:2], -1, 1)
        largest = score.masked_fill(~causal, -torch.inf).amax(-1, keepdim=True)
        t = (largest - score).clamp(0, EXP2_CLAMP)
        p = exp2_negative(t, self.tables) * causal
        return p, p.sum(-1, keepdim=True)

    def gated(self, gate: Tensor, up: Tensor, n: int) -> Tensor:
        """SiLU of the gate, fired, gates `up` element by element."""
        code, _, exponent = self.fire(self._silu(gate), None)
        return self._scale(code * up, self.model.fraction - exponent)

    def _silu(self, gate: Tensor) -> Tensor:
        widen = SILU_FRACTION - self.model.fraction
        wide, size = gate * 2.0**widen, 2.0 * SILU_LIMIT / SILU_PIECES
        piece = torch.floor((wide + SILU_LIMIT) / size).clamp(0, SILU_PIECES - 1)
        base, slope = (real(table)[piece.long()]
                       for table in (self.tables.silu_base, self.tables.silu_slope))
        inside = base + half_up(slope * (wide + SILU_LIMIT - piece * size), SILU_SLOPE_FRACTION)
        y = torch.where(wide >= SILU_LIMIT, gate, half_up(inside, widen))
        return torch.where(wide < -SILU_LIMIT, 0.0, y)


def exp2_negative(t: Tensor, tables: Tables) -> Tensor:
    """2**-t for t >= 0 with 8 fraction bits -> 15 fraction bits, by the table's lines."""
    whole = torch.floor(t / 2**SCORE_FRACTION)
    inside = t - whole * 2**SCORE_FRACTION
    size = 2**SCORE_FRACTION // EXP2_PIECES
    piece = torch.floor(inside / size)
    base, slope = (real(table)[piece.long()] for table in (tables.exp2_base, tables.exp2_slope))
    return half_up(base + slope * (inside - piece * size), whole)
