"""The quantised model's arithmetic in training: the device's coarse steps, with gradients.

Spike codes, int8 rows with their gains and 8-bit mantissas are rounded, and gradients pass
straight through; what is finer than that stays float32.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from golden.decoder import LAYER_MAPS, MAPS, full_name
from golden.float_model.arithmetic import mix, rotate
from golden.float_model.model import FloatModel
from golden.quantisation.responses import Fired, Responses
from isa.formats import CODE, GAIN
from isa.schedule import Population

Observer = Callable[[str, Tensor, Tensor], None]
ScaledCodes = tuple[Tensor, Tensor, Tensor]  # code, what arrives of it, what a unit stands for


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
        observe: gets each linear map's name, the codes that it gathers and what it gives.
    """

    def __init__(self, model: FloatModel, responses: Responses | None,
                 observe: Observer | None = None) -> None:
        self.model, self.responses, self.config = model, responses, model.config
        self.fired: list[Fired] = []
        self.observe = observe
        self.weights: dict[str, Tensor] = {}
        for n in range(self.config.layers):
            for name in LAYER_MAPS:
                self.weights[full_name(n, name)] = self._quantised(n, name)
        self.weights["logits"] = self._quantised(None, "logits")

    def _modules(self, n: int | None) -> torch.nn.Module:
        return self.model if n is None else self.model.layers[n]

    def _quantised(self, n: int | None, name: str) -> Tensor:
        """A map's matrix as the device has it; the weight of the norm before it is folded in."""
        modules, norm = self._modules(n), MAPS[name].norm
        matrices = [getattr(modules, weight).weight for weight in MAPS[name].weights]
        matrix = matrices[0] if len(matrices) == 1 else torch.cat(matrices)
        return quantise_rows(matrix if norm is None else matrix * getattr(modules, norm).weight)

    def embed(self, ids: Tensor) -> Tensor:
        """ids (B, T) -> (B, T, dim)."""
        return F.embedding(ids, quantise_rows(self.model.embedding.weight.T).T)

    def fire(self, value: Tensor, population: Population | None = None) -> ScaledCodes:
        """The codes of vectors over the last axis; None: nothing is lost on the way."""
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

    def normed(self, x: Tensor, n: int | None, maps: tuple[str, ...]) -> list[Tensor]:
        """Linear maps of the fired vector over its root mean square."""
        fired = self.fire(x, MAPS[maps[0]].population)
        return [self._normed(fired, n, name) for name in maps]

    def _normed(self, fired: ScaledCodes, n: int | None, name: str) -> Tensor:
        code, arrived, scale = fired
        square = (code * arrived).mean(-1, keepdim=True).clamp(min=0)
        true = torch.rsqrt(square + self.config.norm_epsilon / scale.square())
        with torch.no_grad():
            unit = torch.exp2(torch.floor(torch.log2(true)) - 7)
            rounded = torch.round(true / unit) * unit
        y = self._gather(full_name(n, name), fired, straight_through(true, rounded))
        if name == "qkv" and self.config.qkv_bias:
            modules = self._modules(n)
            y = y + torch.cat([getattr(modules, weight).bias for weight in MAPS[name].weights])
        return y

    def _gather(self, name: str, fired: ScaledCodes, scale: Tensor) -> Tensor:
        y = F.linear(fired[1], self.weights[name]) * scale
        if self.observe is not None:
            self.observe(name, fired[0], y)
        return y

    def attend(self, qkv: Tensor, n: int) -> Tensor:
        """(B, T, (H + 2 K) hd) -> mixed (B, T, H hd)."""
        c, (B, T, _) = self.config, qkv.shape
        heads = qkv.view(B, T, -1, c.head_dim).transpose(1, 2)
        q, k, v = heads.split((c.heads, c.kv_heads, c.kv_heads), 1)      # (B, H or K, T, hd)
        q, k = (rotate(z, self.model.cosine[:T], self.model.sine[:T]) for z in (q, k))
        q, k, v = (arrived * scale for _, arrived, scale in
                   (self.fire(q, Population.attention), self.fire(k), self.fire(v)))
        return mix(q, k, v, c.attention).transpose(1, 2).flatten(2)

    def residual(self, vector: Tensor, n: int, name: str, x: Tensor) -> Tensor:
        """A linear map of the fired vector, added to the residual stream."""
        fired = self.fire(vector, MAPS[name].population)
        return x + self._gather(full_name(n, name), fired, fired[2])

    def gated(self, gate: Tensor, up: Tensor, n: int) -> Tensor:
        """SiLU of the gate, fired, gates `up` element by element."""
        code, _, scale = self.fire(F.silu(gate))
        return code * scale * up
