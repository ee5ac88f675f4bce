"""BrainGPT in floating point: what the spiking model is measured against, and what is trained."""

import copy
import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from golden.checkpoints.checkpoint import Checkpoint
from golden.checkpoints.config import Attention, ModelConfig
from isa.errors import SpikeletError

Record = dict[str, torch.Tensor]
BIASES = {"bq": "wq", "bk": "wk", "bv": "wv"}


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + epsilon) * weight over the last axis."""

    def __init__(self, dim: int, epsilon: float) -> None:
        super().__init__()
        self.weight, self.epsilon = nn.Parameter(torch.ones(dim)), epsilon

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x, x.shape[-1:], self.weight, self.epsilon)


def rotate(z: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """Rotary embedding of (..., T, hd): neighbours (2i, 2i+1) turn by the angle of pair i."""
    a, b = z[..., 0::2], z[..., 1::2]                                    # (..., T, hd/2)
    return torch.stack([a * cosine - b * sine, a * sine + b * cosine], -1).flatten(-2)


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

    def extend(self, n: int, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
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

    def forward(self, x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor, n: int,
                record: Record | None = None, cache: KeyValueCache | None = None) -> torch.Tensor:
        c, (B, T, _) = self.config, x.shape
        h = self.attention_norm(x)                                       # (B, T, dim)
        q, k, v = self.wq(h), self.wk(h), self.wv(h)
        heads = [z.view(B, T, -1, c.head_dim).transpose(1, 2) for z in (q, k, v)]
        q_rotated, k_rotated = (rotate(z, cosine, sine) for z in heads[:2])   # (B, H or K, T, hd)
        keys, values = k_rotated, heads[2]
        if cache is not None:
            keys, values = cache.extend(n, keys, values)
        mixed = mix(q_rotated, keys, values, c.attention)                # (B, H, T, hd)
        mixed = mixed.transpose(1, 2).reshape(B, T, c.attention_dim)
        out = self.wo(mixed)
        attended = x + out
        h = self.mlp_norm(attended)
        gate, up = self.w_gate(h), self.w_up(h)                          # (B, T, hidden)
        product = F.silu(gate) * up
        down = self.w_down(product)
        x = attended + down
        if record is not None:
            record |= {f"layers.{n}.{name}": value for name, value in (
                ("q", q), ("k", k), ("v", v), ("q_rotated", q_rotated), ("k_rotated", k_rotated),
                ("mixed", mixed), ("attention_out", out), ("attended", attended), ("gate", gate),
                ("up", up), ("product", product), ("down", down), ("residual", x))}
        return x


class FloatModel(nn.Module):
    """BrainGPT in float32, of a checkpoint's weights or untrained ones.

    `forward(ids)` takes (B, T) or (T,) token ids and gives (B, T, vocab) or (T, vocab) logits.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        c = self.config = checkpoint.config
        self.embedding = nn.Embedding(c.vocab, c.dim)
        self.layers = nn.ModuleList(Layer(c) for _ in range(c.layers))
        self.final_norm = RMSNorm(c.dim, c.norm_epsilon)
        self.head = nn.Linear(c.dim, c.vocab, bias=False)
        if c.tied:
            self.head.weight = self.embedding.weight
        cosine, sine = rotation_table(c)
        self.register_buffer("cosine", cosine, persistent=False)
        self.register_buffer("sine", sine, persistent=False)
        self.load_state_dict({state_name(name): torch.tensor(weight)
                              for name, weight in checkpoint.weights.items()})
        self.requires_grad_(False)
        self.eval()

    def weights(self) -> dict[str, np.ndarray]:
        """The model's weights under their canonical names, float32."""
        state = self.state_dict()
        return {name: state[state_name(name)].detach().cpu().numpy().copy()
                for name in self.config.weight_shapes()}

    def forward(self, ids: torch.Tensor, record: Record | None = None,
                cache: KeyValueCache | None = None) -> torch.Tensor:
        """Logits of every position given.

        Args:
            record: receives every vector between operators by name.
            cache: what came before these ids; it grows by them.

        Raises:
            SpikeletError: more positions than the model's context or the cache holds.
        """
        batch = ids if ids.dim() == 2 else ids[None]
        start = 0 if cache is None else cache.length
        end = start + batch.shape[1]
        room = min(self.config.context, cache.context if cache is not None else end)
        if end > room:
            raise SpikeletError(f"{end} tokens do not fit the model's context of {room}: give a "
                                "shorter text")
        cosine, sine = self.cosine[start:end], self.sine[start:end]
        x = embedded = self.embedding(batch)                             # (B, T, dim)
        for n, layer in enumerate(self.layers):
            x = layer(x, cosine, sine, n, record, cache)
        if cache is not None:
            cache.length = end
        logits = self.head(self.final_norm(x))                           # (B, T, vocab)
        if record is not None:
            record |= {"embedding": embedded, "logits": logits}
        return logits if ids.dim() == 2 else logits[0]


def rotation_table(c: ModelConfig) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine and sine (context, hd/2) of position * theta^(-2i/hd)."""
    pair = np.arange(0, c.head_dim, 2) / c.head_dim
    angle = np.arange(c.context)[:, None] / c.rope_theta ** pair
    return (torch.tensor(np.cos(angle), dtype=torch.float32),
            torch.tensor(np.sin(angle), dtype=torch.float32))


def state_name(name: str) -> str:
    """The module's name of a canonical weight: `layers.0.bq` is `layers.0.wq.bias`."""
    path, _, short = name.rpartition(".")
    leaf = f"{BIASES[short]}.bias" if short in BIASES else f"{short}.weight"
    return f"{path}.{leaf}" if path else leaf
