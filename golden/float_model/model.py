"""BrainGPT in floating point: what the spiking model is measured against, and what is trained."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from golden.checkpoints.checkpoint import Checkpoint
from golden.checkpoints.config import ModelConfig
from golden.decoder import Record, decode
from golden.float_model.arithmetic import FloatArithmetic, KeyValueCache
from isa.errors import SpikeletError

BIASES = {"bq": "wq", "bk": "wk", "bv": "wv"}


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + epsilon) * weight over the last axis."""

    def __init__(self, dim: int, epsilon: float) -> None:
        super().__init__()
        self.weight, self.epsilon = nn.Parameter(torch.ones(dim)), epsilon

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x, x.shape[-1:], self.weight, self.epsilon)


class FloatLayer(nn.Module):
    """The modules of a layer under the names of the checkpoint's weights.

    It has no `forward`: golden/decoder.py runs layers, with `FloatArithmetic`.
    """

    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(c.dim, c.norm_epsilon)
        self.wq = nn.Linear(c.dim, c.attention_dim, bias=c.qkv_bias)
        self.wk = nn.Linear(c.dim, c.kv_dim, bias=c.qkv_bias)
        self.wv = nn.Linear(c.dim, c.kv_dim, bias=c.qkv_bias)
        self.wo = nn.Linear(c.attention_dim, c.dim, bias=False)
        self.mlp_norm = RMSNorm(c.dim, c.norm_epsilon)
        self.w_gate = nn.Linear(c.dim, c.hidden, bias=False)
        self.w_up = nn.Linear(c.dim, c.hidden, bias=False)
        self.w_down = nn.Linear(c.hidden, c.dim, bias=False)


class FloatModel(nn.Module):
    """BrainGPT in float32, of a checkpoint's weights or untrained ones.

    `forward(ids)` takes (B, T) or (T,) token ids and gives (B, T, vocab) or (T, vocab) logits.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        c = self.config = checkpoint.config
        self.embedding = nn.Embedding(c.vocab, c.dim)
        self.layers = nn.ModuleList(FloatLayer(c) for _ in range(c.layers))
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
        arithmetic = FloatArithmetic(self.config, list(self.layers),
                                     (self.cosine[start:end], self.sine[start:end]), ends=self,
                                     cache=cache, record=record)
        logits = decode(arithmetic, batch, self.config.layers)           # (B, T, vocab)
        if cache is not None:
            cache.length = end
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
