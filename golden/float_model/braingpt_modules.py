"""The modules of BrainGPT under the names that its checkpoints carry, in floating point.

Each projection is inside a Synapsis (`model.layers.0.self_attn.q_proj.layer.weight`). Heads are in
rotate-half order: the first half of a head pairs with the second. They compute what FloatModel
does, by the same arithmetic; the cache is one of `transformers`, which this file does not need.
"""

from operator import attrgetter

import torch
from torch import nn

from golden.checkpoints.config import ModelConfig
from golden.decoder import decoder_layer
from golden.float_model.arithmetic import Cache, FloatArithmetic, Rotation, rotate_halves
from golden.float_model.model import RMSNorm


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


class SelfAttention(nn.Module):
    """The projections of grouped attention; `DecoderLayer` runs them."""

    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        self.q_proj = linear(c.dim, c.attention_dim, c.qkv_bias)
        self.k_proj = linear(c.dim, c.kv_dim, c.qkv_bias)
        self.v_proj = linear(c.dim, c.kv_dim, c.qkv_bias)
        self.o_proj = linear(c.attention_dim, c.dim)


class GatedMLP(nn.Module):
    """The projections of a gated MLP; `DecoderLayer` runs them."""

    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = linear(c.dim, c.hidden), linear(c.dim, c.hidden)
        self.down_proj = linear(c.hidden, c.dim)


class DecoderLayer(nn.Module):
    """Attention and gated MLP, each behind an RMSNorm and added to the residual stream."""

    # The same modules under the names that `FloatArithmetic` knows, looked up at every use: others
    # may put modules of theirs (adapters, say) in the place of ours.
    attention_norm = property(attrgetter("input_layernorm"))
    wq = property(attrgetter("self_attn.q_proj"))
    wk = property(attrgetter("self_attn.k_proj"))
    wv = property(attrgetter("self_attn.v_proj"))
    wo = property(attrgetter("self_attn.o_proj"))
    mlp_norm = property(attrgetter("post_attention_layernorm"))
    w_gate = property(attrgetter("mlp.gate_proj"))
    w_up = property(attrgetter("mlp.up_proj"))
    w_down = property(attrgetter("mlp.down_proj"))

    def __init__(self, c: ModelConfig, n: int) -> None:
        super().__init__()
        self.shape, self.n = c, n
        self.input_layernorm = RMSNorm(c.dim, c.norm_epsilon)
        self.self_attn = SelfAttention(c)
        self.post_attention_layernorm = RMSNorm(c.dim, c.norm_epsilon)
        self.mlp = GatedMLP(c)

    def forward(self, x: torch.Tensor, rotation: Rotation, visible: torch.Tensor | None,
                cache: Cache | None) -> torch.Tensor:
        """The residual stream (B, T, dim) after this layer."""
        arithmetic = FloatArithmetic(self.shape, {self.n: self}, rotation, rotate_halves,
                                     visible=visible, cache=cache)
        return decoder_layer(arithmetic, x, self.n)


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
        rotation = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
        for layer in self.layers:
            x = layer(x, rotation, visible, cache)
        return self.norm(x)
