"""BrainGPT in floating point: what the spiking model is measured against."""

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from golden.model.checkpoint import Checkpoint
from golden.model.config import ModelConfig


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + epsilon) * weight over the last axis."""

    def __init__(self, dim: int, epsilon: float) -> None:
        super().__init__()
        self.weight, self.epsilon = nn.Parameter(torch.ones(dim)), epsilon

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.epsilon) * self.weight


def rotate(z: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """Rotary embedding of (..., T, hd): neighbours (2i, 2i+1) turn by the angle of pair i."""
    a, b = z[..., 0::2], z[..., 1::2]                                    # (..., T, hd/2)
    return torch.stack([a * cosine - b * sine, a * sine + b * cosine], -1).flatten(-2)


class Layer(nn.Module):
    """Attention and gated MLP, each behind an RMSNorm and added to the residual stream."""

    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        self.config = c
        self.attention_norm = RMSNorm(c.dim, c.norm_epsilon)
        self.wq = nn.Linear(c.dim, c.attention_dim, bias=c.qkv_bias)
        self.wk = nn.Linear(c.dim, c.kv_dim, bias=c.qkv_bias)
        self.wv = nn.Linear(c.dim, c.kv_dim, bias=c.qkv_bias)
        self.wo = nn.Linear(c.attention_dim, c.dim, bias=False)
        self.mlp_norm = RMSNorm(c.dim, c.norm_epsilon)
        self.w_gate = nn.Linear(c.dim, c.hidden, bias=False)
        self.w_up = nn.Linear(c.dim, c.hidden, bias=False)
        self.w_down = nn.Linear(c.hidden, c.dim, bias=False)

    def forward(self, x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor,
                record: dict[str, torch.Tensor], name: str) -> torch.Tensor:
        c, (B, T, _) = self.config, x.shape
        h = self.attention_norm(x)                                       # (B, T, dim)
        q, k, v = self.wq(h), self.wk(h), self.wv(h)
        record |= {f"{name}.q": q, f"{name}.k": k, f"{name}.v": v}
        q = q.view(B, T, c.heads, c.head_dim).transpose(1, 2)            # (B, H, T, hd)
        k = k.view(B, T, c.kv_heads, c.head_dim).transpose(1, 2)         # (B, K, T, hd)
        v = v.view(B, T, c.kv_heads, c.head_dim).transpose(1, 2)
        q, k = rotate(q, cosine, sine), rotate(k, cosine, sine)
        record |= {f"{name}.q_rotated": q, f"{name}.k_rotated": k}
        k, v = (z.repeat_interleave(c.group, 1) for z in (k, v))         # (B, H, T, hd)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True,
                                               scale=1 / math.sqrt(c.head_dim))
        mixed = mixed.transpose(1, 2).reshape(B, T, c.attention_dim)
        out = self.wo(mixed)
        x = x + out
        record |= {f"{name}.mixed": mixed, f"{name}.attention_out": out, f"{name}.attended": x}
        h = self.mlp_norm(x)
        gate, up = self.w_gate(h), self.w_up(h)                          # (B, T, hidden)
        product = F.silu(gate) * up
        down = self.w_down(product)
        x = x + down
        record |= {f"{name}.gate": gate, f"{name}.up": up, f"{name}.product": product,
                   f"{name}.down": down, f"{name}.residual": x}
        return x


class FloatModel(nn.Module):
    """BrainGPT of a checkpoint, in float32.

    `forward(ids)` takes (B, T) or (T,) token ids and gives (B, T, vocab) or (T, vocab) logits.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        c = self.config = checkpoint.config
        self.embedding = nn.Embedding(c.vocab, c.dim)
        self.layers = nn.ModuleList(Layer(c) for _ in range(c.layers))
        self.final_norm = RMSNorm(c.dim, c.norm_epsilon)
        self.head = nn.Linear(c.dim, c.vocab, bias=False)
        pair = np.arange(0, c.head_dim, 2) / c.head_dim
        angle = np.arange(c.context)[:, None] / c.rope_theta ** pair     # (context, hd/2)
        self.register_buffer("cosine", torch.tensor(np.cos(angle), dtype=torch.float32))
        self.register_buffer("sine", torch.tensor(np.sin(angle), dtype=torch.float32))
        self._copy(checkpoint)
        self.requires_grad_(False)
        self.eval()

    def _copy(self, checkpoint: Checkpoint) -> None:
        bias_of = {"bq": "wq", "bk": "wk", "bv": "wv"}
        state = {}
        for name, weight in checkpoint.weights.items():
            path, _, short = name.rpartition(".")
            leaf = f"{bias_of[short]}.bias" if short in bias_of else f"{short}.weight"
            state[f"{path}.{leaf}" if path else leaf] = torch.tensor(weight)
        self.load_state_dict(state | {"cosine": self.cosine, "sine": self.sine})

    def forward(self, ids: torch.Tensor,
                record: dict[str, torch.Tensor] | None = None) -> torch.Tensor:
        """Logits of every position; `record` receives every vector between operators by name."""
        record = {} if record is None else record
        batch = ids if ids.dim() == 2 else ids[None]
        cosine, sine = self.cosine[:batch.shape[1]], self.sine[:batch.shape[1]]
        x = record["embedding"] = self.embedding(batch)                  # (B, T, dim)
        for n, layer in enumerate(self.layers):
            x = layer(x, cosine, sine, record, f"layers.{n}")
        logits = record["logits"] = self.head(self.final_norm(x))        # (B, T, vocab)
        return logits if ids.dim() == 2 else logits[0]
