"""The modules of BrainGPT under the names that its checkpoints carry, in floating point.

Each projection is inside a Synapsis (`model.layers.0.self_attn.q_proj.layer.weight`). Heads are in
rotate-half order: the first half of a head pairs with the second. They compute what FloatModel
does; the cache is one of `transformers`, which this file does not need.
"""

from typing import Protocol

import torch
from torch import nn
from torch.nn import functional as F

from golden.checkpoints.config import ModelConfig
from golden.float_model.arithmetic import mix
from golden.float_model.model import RMSNorm


class Cache(Protocol):
    """Keys and values of the positions seen so far."""

    def update(self, k: torch.Tensor, v: torch.Tensor, n: int
               ) -> tuple[torch.Tensor, torch.Tensor]:
        """Stores keys and values (B, K, T, hd) of layer n after the ones seen; returns all."""


class Synapsis(nn.Module):
    """A linear map or an embedding under BrainGPT's name for it: `layer`."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


def linear(inputs: int, outputs: int, bias: bool = False) -> Synapsis:
    """A projection inside its Synapsis."""
    return Synapsis(nn.Linear(inputs, outputs, bias))


def rotate_halves(z: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """Rotary embedding of (B, heads, T, hd): elements i and i + hd/2 turn together."""
    a, b = z.chunk(2, -1)
    return torch.cat([a * cosine - b * sine, a * sine + b * cosine], -1)


class SelfAttention(nn.Module):
    """Grouped attention, with softmax or gated by the scores themselves."""

    def __init__(self, c: ModelConfig, n: int) -> None:
        super().__init__()
        self.shape, self.n = c, n
        self.q_proj = linear(c.dim, c.attention_dim, c.qkv_bias)
        self.k_proj = linear(c.dim, c.kv_dim, c.qkv_bias)
        self.v_proj = linear(c.dim, c.kv_dim, c.qkv_bias)
        self.o_proj = linear(c.attention_dim, c.dim)

    def forward(self, x: torch.Tensor, turn: tuple[torch.Tensor, torch.Tensor],
                visible: torch.Tensor | None, cache: Cache | None) -> torch.Tensor:
        B, T, _ = x.shape
        q, k, v = (project(x).view(B, T, -1, self.shape.head_dim).transpose(1, 2)
                   for project in (self.q_proj, self.k_proj, self.v_proj))
        q, k = rotate_halves(q, *turn), rotate_halves(k, *turn)          # (B, H or K, T, hd)
        if cache is not None:
            k, v = cache.update(k, v, self.n)                            # (B, K, P, hd)
        mixed = mix(q, k, v, self.shape.attention, visible)              # (B, H, T, hd)
        return self.o_proj(mixed.transpose(1, 2).reshape(B, T, -1))


class GatedMLP(nn.Module):
    """down(silu(gate) * up)."""

    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = linear(c.dim, c.hidden), linear(c.dim, c.hidden)
        self.down_proj = linear(c.hidden, c.dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class DecoderLayer(nn.Module):
    """Attention and gated MLP, each behind an RMSNorm and added to the residual stream."""

    def __init__(self, c: ModelConfig, n: int) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(c.dim, c.norm_epsilon)
        self.self_attn = SelfAttention(c, n)
        self.post_attention_layernorm = RMSNorm(c.dim, c.norm_epsilon)
        self.mlp = GatedMLP(c)

    def forward(self, x: torch.Tensor, turn: tuple[torch.Tensor, torch.Tensor],
                visible: torch.Tensor | None, cache: Cache | None) -> torch.Tensor:
        x = x + self.self_attn(self.input_layernorm(x), turn, visible, cache)
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    """Token ids to the normalised residual stream."""

    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        self.shape = c
        self.embed_tokens = Synapsis(nn.Embedding(c.vocab, c.dim))
        self.layers = nn.ModuleList(DecoderLayer(c, n) for n in range(c.layers))
        self.norm = RMSNorm(c.dim, c.norm_epsilon)

    def forward(self, ids: torch.Tensor, positions: torch.Tensor, visible: torch.Tensor | None,
                cache: Cache | None) -> torch.Tensor:
        c, x = self.shape, self.embed_tokens(ids)                        # (B, T, dim)
        pair = torch.arange(0, c.head_dim, 2, dtype=torch.float64, device=ids.device) / c.head_dim
        angle = positions[:, None, :, None] / c.rope_theta ** pair       # (B, 1, T, hd/2)
        turn = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
        for layer in self.layers:
            x = layer(x, turn, visible, cache)
        return self.norm(x)
