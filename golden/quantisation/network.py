"""The quantised BrainGPT: the float model's weights behind the quantisers of the spiking model.

In training, spike codes, int8 rows with their gains and 8-bit mantissas are rounded and gradients
pass straight through; what is finer than that stays float32. In evaluation every step rounds as the
device does, carried in float64: its logits are the spiking model's integers.
"""

from collections.abc import Callable

import torch
from torch.nn import functional as F

from golden.checkpoints.checkpoint import Checkpoint
from golden.float_model.model import FloatModel, mix, rotate
from golden.quantisation.exact import ExactArithmetic
from golden.quantisation.quantise import DEFAULT_FRACTION, QuantisedModel, quantise
from golden.quantisation.responses import Fired, Responses
from isa.formats import CODE, GAIN
from isa.schedule import Population

Tensor = torch.Tensor
Watch = Callable[[str, Tensor, Tensor], None]
Codes = tuple[Tensor, Tensor, Tensor]  # code, what arrives of it, what a unit stands for


def straight_through(value: Tensor, rounded: Tensor) -> Tensor:
    """`rounded` forward, the gradient of `value` backward."""
    return value + (rounded - value).detach()


def quantise_rows(weight: Tensor) -> Tensor:
    """Rows (outputs, inputs) at int8 with an 8-bit gain each, as `quantise_synapses` has them."""
    with torch.no_grad():
        peak = weight.abs().amax(1, keepdim=True).clamp(min=2.0**-60) / CODE.maximum
        power = torch.exp2(torch.floor(torch.log2(peak)))
        gain = torch.round(peak / power * 128).clamp(128, GAIN.maximum) / 128 * power
        rounded = torch.round(weight / gain).clamp(-CODE.maximum, CODE.maximum) * gain
    return straight_through(weight, rounded)


def code_scale(value: Tensor) -> Tensor:
    """What one unit of the spike codes over the last axis stands for: a power of two."""
    peak = value.detach().abs().amax(-1, keepdim=True).clamp(min=2.0**-60)
    return torch.exp2(torch.floor(torch.log2(peak)) - (CODE.bits - 2))


class TrainingArithmetic:
    """Real values in float32; rounds what is coarse. `fired` collects what populations fired.

    Args:
        model: gives the weights.
        responses: trained firing thresholds, or None where every code arrives whole.
        watch: gets each linear map's name, the codes that it gathers and what it gives.
    """

    def __init__(self, model: FloatModel, responses: Responses | None,
                 watch: Watch | None = None) -> None:
        self.model, self.responses, self.config = model, responses, model.config
        self.fired: list[Fired] = []
        self.watch = watch
        self.weights: dict[str, Tensor] = {}
        for n, layer in enumerate(model.layers):
            gain, mlp_gain = layer.attention_norm.weight, layer.mlp_norm.weight
            qkv = torch.cat([layer.wq.weight, layer.wk.weight, layer.wv.weight]) * gain
            for name, weight in (
                ("qkv", qkv), ("out", layer.wo.weight), ("gate", layer.w_gate.weight * mlp_gain),
                ("up", layer.w_up.weight * mlp_gain), ("down", layer.w_down.weight),
            ):  # fmt: skip
                self.weights[f"layers.{n}.{name}"] = quantise_rows(weight)
        self.weights["logits"] = quantise_rows(model.head.weight * model.final_norm.weight)

    def embed(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, quantise_rows(self.model.embedding.weight.T).T)

    def fire(self, value: Tensor, population: Population | None = None) -> Codes:
        """(code, what arrives of it, what a unit of both stands for)."""
        scale = code_scale(value)
        x = value / scale
        with torch.no_grad():
            q = torch.floor(x.abs() + 0.5).clamp(max=CODE.maximum) * x.sign()
        code = straight_through(x, q)
        if self.responses is None or population not in self.responses.index:
            return code, code, scale
        arrived, fired = self.responses.fire(x, q, population)
        self.fired.append(fired)
        return code, arrived, scale

    def normed(self, name: str, fired: Codes) -> Tensor:
        """A linear map of the fired vector over its root mean square."""
        code, arrived, scale = fired
        square = (code * arrived).mean(-1, keepdim=True).clamp(min=0)
        true = torch.rsqrt(square + self.config.norm_epsilon / scale.square())
        with torch.no_grad():
            unit = torch.exp2(torch.floor(torch.log2(true)) - 7)
            rounded = torch.round(true / unit) * unit
        return self._gather(name, fired, straight_through(true, rounded))

    def biased(self, qkv: Tensor, n: int) -> Tensor:
        layer = self.model.layers[n]
        biases = [projection.bias for projection in (layer.wq, layer.wk, layer.wv)]
        return qkv + torch.cat(biases)

    def plain(self, name: str, fired: Codes, residual: Tensor) -> Tensor:
        """A linear map of the fired vector, added to the residual stream."""
        return residual + self._gather(name, fired, fired[2])

    def _gather(self, name: str, fired: Codes, scale: Tensor) -> Tensor:
        y = F.linear(fired[1], self.weights[name]) * scale
        if self.watch is not None:
            self.watch(name, fired[0], y)
        return y

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Heads (B, H or K, T, hd) before rotation -> mixed (B, T, H hd)."""
        T = q.shape[2]
        q, k = (rotate(z, self.model.cosine[:T], self.model.sine[:T]) for z in (q, k))
        q, k, v = (arrived * scale for _, arrived, scale in
                   (self.fire(q, Population.attention), self.fire(k), self.fire(v)))
        return mix(q, k, v, self.config.attention).transpose(1, 2).flatten(2)

    def gated(self, gate: Tensor, up: Tensor) -> Tensor:
        """SiLU of the gate, fired, modulates up."""
        code, _, scale = self.fire(F.silu(gate))
        return code * scale * up


class QuantisedNetwork(FloatModel):
    """BrainGPT with quantisers, trainable; parameters and their names are the float model's.

    Args:
        checkpoint: the weights it begins with, and thresholds where plasticity has changed them.
        fraction: fraction bits of vectors, for evaluation.
    """

    def __init__(self, checkpoint: Checkpoint, fraction: int = DEFAULT_FRACTION) -> None:
        super().__init__(checkpoint)
        self.fraction = fraction
        self.responses = Responses(checkpoint.thresholds) if checkpoint.thresholds else None

    def checkpoint(self) -> Checkpoint:
        """Weights and thresholds as they are now."""
        thresholds = {} if self.responses is None else self.responses.integers()
        return Checkpoint(self.config, self.weights(), thresholds)

    def integers(self) -> QuantisedModel:
        """Every integer of the model as it is now."""
        return quantise(self.checkpoint(), self.fraction)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits (B, T, vocab) or (T, vocab) of ids (B, T) or (T,).

        In training float32 in natural-log units; in evaluation float64 integers with `fraction`
        fraction bits.
        """
        batch = ids if ids.dim() == 2 else ids[None]
        if self.training:
            logits, _ = self.train_step(batch)
        else:
            with torch.no_grad():
                logits = self.logits(ExactArithmetic(self.integers()), batch)
        return logits if ids.dim() == 2 else logits[0]

    def train_step(self, ids: Tensor,
                   watch: Watch | None = None) -> tuple[Tensor, list[Fired]]:
        """Training's logits (B, T, vocab), and what the populations fired, in order."""
        arithmetic = TrainingArithmetic(self, self.responses, watch)
        return self.logits(arithmetic, ids), arithmetic.fired

    def logits(self, a: "TrainingArithmetic | ExactArithmetic", ids: Tensor) -> Tensor:
        """The model itself, in one arithmetic or the other."""
        c, (B, T) = self.config, ids.shape
        x = a.embed(ids)                                                 # (B, T, dim)
        for n in range(c.layers):
            name = f"layers.{n}."
            qkv = a.normed(name + "qkv", a.fire(x, Population.qkv))      # (B, T, (H + 2 K) hd)
            if c.qkv_bias:
                qkv = a.biased(qkv, n)
            heads = qkv.view(B, T, -1, c.head_dim).transpose(1, 2)
            mixed = a.attend(*heads.split((c.heads, c.kv_heads, c.kv_heads), 1))
            attended = a.plain(name + "out", a.fire(mixed, Population.out), x)
            fired = a.fire(attended, Population.gated)
            product = a.gated(a.normed(name + "gate", fired), a.normed(name + "up", fired))
            x = a.plain(name + "down", a.fire(product, Population.down), attended)
        return a.normed("logits", a.fire(x, Population.head))            # (B, T, vocab)
