"""The decoder's operators in floating point, for a model's own modules or BrainGPT's."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch
from torch import nn
from torch.nn import functional as F

from golden.checkpoints.config import Attention, ModelConfig
from golden.decoder import MAPS, Record, full_name

Rotation = tuple[torch.Tensor, torch.Tensor]  # cosine and sine of the positions' angles
# What a matrix gives, by its name in a record; into the residual stream, what it adds and the sum.
RECORDED = {"wq": "q", "wk": "k", "wv": "v", "wo": ("attention_out", "attended"),
            "w_gate": "gate", "w_up": "up", "w_down": ("down", "residual"), "head": "logits"}


def rotate(z: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """Rotary embedding of (..., T, hd): neighbours (2i, 2i+1) rotate by the angle of pair i.

    cosine and sine are (T, hd/2), or what broadcasts to (..., T, hd/2).
    """
    a, b = z[..., 0::2], z[..., 1::2]                                    # (..., T, hd/2)
    return torch.stack([a * cosine - b * sine, a * sine + b * cosine], -1).flatten(-2)


def rotate_halves(z: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """Rotary embedding of (..., T, hd): elements i and i + hd/2 rotate by the angle of pair i.

    cosine and sine are as in `rotate`.
    """
    a, b = z.chunk(2, -1)
    return torch.cat([a * cosine - b * sine, a * sine + b * cosine], -1)


class Cache(Protocol):
    """Keys and values of the positions seen so far: `KeyValueCache`, or one of `transformers`."""

    def update(self, k: torch.Tensor, v: torch.Tensor, n: int
               ) -> tuple[torch.Tensor, torch.Tensor]:
        """Stores keys and values (B, K, T, hd) of layer n after the ones seen; returns all."""


class KeyValueCache:
    """Rotated keys and values (layers, B, K, context, hd) of the `length` positions seen so far."""

    def __init__(self, config: ModelConfig, batch: int = 1, context: int | None = None,
                 device: torch.device | None = None) -> None:
        shape = (config.layers, batch, config.kv_heads, context or config.context, config.head_dim)
        self.keys = torch.zeros(shape, device=device)
        self.values = torch.zeros(shape, device=device)
        self.length = 0

    @property
    def context(self) -> int:
        """Positions there is room for."""
        return self.keys.shape[3]

    def update(self, k: torch.Tensor, v: torch.Tensor, n: int
               ) -> tuple[torch.Tensor, torch.Tensor]:
        """Stores keys and values (B, K, T, hd) of layer n after the ones seen; returns all."""
        end = self.length + k.shape[2]
        self.keys[n, :, :, self.length:end], self.values[n, :, :, self.length:end] = k, v
        return self.keys[n, :, :, :end], self.values[n, :, :, :end]

    def select(self, rows: torch.Tensor) -> "KeyValueCache":
        """The cache of some rows of the batch, by index."""
        chosen = copy.copy(self)
        seen = slice(0, self.length)
        for name in ("keys", "values"):
            all_ = getattr(self, name)
            part = torch.empty((*all_.shape[:1], len(rows), *all_.shape[2:]), device=all_.device)
            part[:, :, :, seen] = all_[:, rows, :, seen]
            setattr(chosen, name, part)
        return chosen


def mix(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, attention: Attention,
        visible: torch.Tensor | None = None) -> torch.Tensor:
    """Values mixed causally: q (B, H, T, hd), k and v (B, K, P, hd), P >= T -> (B, H, T, hd).

    Query t is position P - T + t and sees the positions up to its own, or those that `visible`
    (B, T, P) names, at least one. Without softmax the weight of a position is max(score, 0) over
    the number of positions seen.
    """
    (B, H, T, hd), (K, P) = q.shape, k.shape[1:3]
    if attention is Attention.softmax and T == P > 1 and visible is None:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=H != K)
    # The queries of a group of heads are rows of one product with their keys.
    score = (q / math.sqrt(hd)).reshape(B, K, -1, hd) @ k.mT             # (B, K, H/K T, P)
    score = score.view(B, K, -1, T, P)
    if visible is not None:
        score = score.masked_fill(~visible[:, None, None], -torch.inf)
    elif T > 1:
        future = torch.ones(T, P, dtype=torch.bool, device=q.device).triu(P - T + 1)
        score = score.masked_fill(future, -torch.inf)
    if attention is Attention.softmax:
        weight = torch.softmax(score, -1)
    else:
        reach = (torch.arange(P - T + 1, P + 1, device=q.device)[:, None]    # positions 0..p
                 if visible is None else visible.sum(-1)[:, None, None, :, None])
        weight = torch.relu(score) / reach
    return (weight.view(B, K, -1, P) @ v).view(B, H, T, hd)


class FloatArithmetic:
    """float32, or whatever the modules hold. Vectors are (B, T, elements).

    Args:
        layers: by number, those that are run; each has its modules under the names of the
            checkpoint's weights (`attention_norm`, `wq`, ...).
        rotation: of the positions given.
        pairs: the rotary embedding: `rotate`, or `rotate_halves` for Hugging Face's order.
        ends: has `embedding`, `final_norm` and `head`, where whole models are decoded.
        visible: which positions each query sees, as `mix` takes them.
        cache: gets the new keys and values, and gives those of earlier positions, too.
        record: receives every vector between operators by name.
    """

    def __init__(self, config: ModelConfig, layers: Mapping[int, nn.Module] | Sequence[nn.Module],
                 rotation: Rotation, pairs: Callable[..., torch.Tensor] = rotate,
                 ends: nn.Module | None = None, visible: torch.Tensor | None = None,
                 cache: Cache | None = None, record: Record | None = None) -> None:
        self.config, self.layers, self.ends = config, layers, ends
        self.rotation, self.pairs, self.visible = rotation, pairs, visible
        self.cache, self.record = cache, record

    def _keep(self, n: int | None, name: str, vector: torch.Tensor) -> torch.Tensor:
        if self.record is not None:
            self.record[full_name(n, name)] = vector
        return vector

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """ids (B, T) -> (B, T, dim)."""
        return self._keep(None, "embedding", self.ends.embedding(ids))

    def normed(self, x: torch.Tensor, n: int | None, maps: tuple[str, ...]) -> list:
        """The results of a map of several matrices stay apart: a list of q, k and v."""
        modules = self.ends if n is None else self.layers[n]
        h = getattr(modules, MAPS[maps[0]].norm)(x)                      # (B, T, dim)
        results = []
        for name in maps:
            parts = [getattr(modules, weight)(h) for weight in MAPS[name].weights]
            if self.record is not None:
                for weight, part in zip(MAPS[name].weights, parts, strict=True):
                    self._keep(n, RECORDED[weight], part)
            results.append(parts if len(parts) > 1 else parts[0])
        return results

    def attend(self, qkv: list[torch.Tensor], n: int) -> torch.Tensor:
        """q (B, T, H hd), k and v (B, T, K hd) -> (B, T, H hd)."""
        B, T, _ = qkv[0].shape
        q, k, v = (z.view(B, T, -1, self.config.head_dim).transpose(1, 2) for z in qkv)
        q = self._keep(n, "q_rotated", self.pairs(q, *self.rotation))    # (B, H, T, hd)
        k = self._keep(n, "k_rotated", self.pairs(k, *self.rotation))    # (B, K, T, hd)
        if self.cache is not None:
            k, v = self.cache.update(k, v, n)                            # (B, K, P, hd)
        mixed = mix(q, k, v, self.config.attention, self.visible)        # (B, H, T, hd)
        return self._keep(n, "mixed", mixed.transpose(1, 2).reshape(B, T, -1))

    def residual(self, vector: torch.Tensor, n: int, name: str, x: torch.Tensor) -> torch.Tensor:
        """Records have what is added and the sum, under the names in `RECORDED`."""
        weight, = MAPS[name].weights
        added, total = RECORDED[weight]
        y = self._keep(n, added, getattr(self.layers[n], weight)(vector))
        return self._keep(n, total, x + y)

    def gated(self, gate: torch.Tensor, up: torch.Tensor, n: int) -> torch.Tensor:
        """(B, T, hidden) twice -> (B, T, hidden)."""
        return self._keep(n, "product", F.silu(gate) * up)
