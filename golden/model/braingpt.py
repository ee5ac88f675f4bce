"""BrainGPT for `transformers`: from_pretrained, generate and save_pretrained on our own folders.

Only this module imports `transformers`. The module tree carries BrainGPT's names (each projection
inside a Synapsis, `...q_proj.layer.weight`) and computes in floating point what FloatModel does;
heads are in rotate-half order: the first half of a head pairs with the second.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    DynamicCache,
    GenerationMixin,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.utils import can_return_tuple

from golden.model.config import Attention, ModelConfig
from golden.model.float_model import RMSNorm, mix
from isa.errors import SpikeletError


class BrainGPTConfig(PreTrainedConfig):
    """Qwen2's keys, `attention_bias` (of q, k and v), `attention` and `firing_thresholds`.

    Raises:
        SpikeletError: a rotary embedding, activation or attention that BrainGPT does not have.
    """

    model_type = "braingpt"
    keys_to_ignore_at_inference = ["past_key_values"]

    vocab_size: int = 151936
    hidden_size: int = 4096
    intermediate_size: int = 22016
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    max_position_embeddings: int = 32768
    rope_theta: float = 10000.0
    rms_norm_eps: float = 1e-6
    hidden_act: str = "silu"
    tie_word_embeddings: bool = False
    attention_bias: bool = True
    attention: str = "softmax"
    firing_thresholds: dict[str, list[int]] | None = None
    initializer_range: float = 0.02
    use_cache: bool = True
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    pad_token_id: int | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        if self.num_key_value_heads is None:
            self.num_key_value_heads = self.num_attention_heads
        if self.head_dim is None:
            self.head_dim = self.hidden_size // self.num_attention_heads
        # Later versions of transformers write the base of the frequencies into a dictionary.
        rope = kwargs.pop("rope_parameters", None) or {}
        scaling = kwargs.pop("rope_scaling", None) or rope
        kind = scaling.get("rope_type", scaling.get("type", "default"))
        if kind != "default":
            raise SpikeletError(f"config.json asks for a rotary embedding of type {kind}: BrainGPT "
                                "has the plain one; use another checkpoint")
        self.rope_theta = float(rope.get("rope_theta", self.rope_theta))
        if kwargs.get("use_sliding_window") or self.hidden_act != "silu":
            raise SpikeletError("config.json asks for a sliding window or another activation than "
                                "silu, which BrainGPT does not have; use another checkpoint")
        super().__post_init__(**kwargs)

    def shape(self) -> ModelConfig:
        """The same model as the rest of the golden model describes it."""
        if self.attention not in list(Attention):
            raise SpikeletError(f"config.json asks for the attention {self.attention!r}: BrainGPT "
                                f"has {' and '.join(Attention)}")
        return ModelConfig(
            dim=self.hidden_size, hidden=self.intermediate_size, layers=self.num_hidden_layers,
            heads=self.num_attention_heads, kv_heads=self.num_key_value_heads,
            head_dim=self.head_dim, vocab=self.vocab_size, context=self.max_position_embeddings,
            rope_theta=self.rope_theta, norm_epsilon=self.rms_norm_eps,
            tied=self.tie_word_embeddings, qkv_bias=self.attention_bias,
            attention=Attention(self.attention))


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
                visible: torch.Tensor | None, cache: DynamicCache | None) -> torch.Tensor:
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
                visible: torch.Tensor | None, cache: DynamicCache | None) -> torch.Tensor:
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
                cache: DynamicCache | None) -> torch.Tensor:
        c, x = self.shape, self.embed_tokens(ids)                        # (B, T, dim)
        pair = torch.arange(0, c.head_dim, 2, dtype=torch.float64, device=ids.device) / c.head_dim
        angle = positions[:, None, :, None] / c.rope_theta ** pair       # (B, 1, T, hd/2)
        turn = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
        for layer in self.layers:
            x = layer(x, turn, visible, cache)
        return self.norm(x)


class BrainGPTForCausalLM(PreTrainedModel, GenerationMixin):
    """BrainGPT in floating point behind the interface of `transformers`."""

    config_class = BrainGPTConfig
    _no_split_modules = ["DecoderLayer"]
    _supports_sdpa = True
    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.layer.weight"}
    # Released checkpoints hold tables of a SiLU of spiking neurons; this one is exact.
    _keys_to_ignore_on_load_unexpected = [r"mlp\.act_fn\."]

    def __init__(self, config: BrainGPTConfig) -> None:
        super().__init__(config)
        shape = config.shape()
        self.model = Decoder(shape)
        self.lm_head = nn.Linear(shape.dim, shape.vocab, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.model.embed_tokens.layer

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.model.embed_tokens.layer = value

    @can_return_tuple
    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None,
                position_ids: torch.Tensor | None = None,
                past_key_values: DynamicCache | None = None, labels: torch.Tensor | None = None,
                use_cache: bool | None = None, logits_to_keep: int | torch.Tensor = 0,
                **kwargs: Any) -> CausalLMOutputWithPast:
        """Logits of the last `logits_to_keep` positions given (0: all).

        Args:
            input_ids: (B, T).
            attention_mask: (B, P), 0 where a position is padding, of cached positions too.
            position_ids: (B, T) or (1, T); counted from the mask or the cache without them.
            labels: (B, T); gives the mean loss of predicting each token.

        Raises:
            SpikeletError: a cache of fixed size, or a mask that is not (B, P).
        """
        T, cache = input_ids.shape[1], past_key_values
        if cache is None and (self.config.use_cache if use_cache is None else use_cache):
            cache = DynamicCache()
        if not isinstance(cache, DynamicCache | None):
            raise SpikeletError("BrainGPT generates with a dynamic cache only: leave out "
                                "cache_implementation")
        past = 0 if cache is None else cache.get_seq_length()
        seen = None
        if attention_mask is not None and not attention_mask.all():
            if attention_mask.shape != (len(input_ids), past + T):
                raise SpikeletError(f"the attention mask must be of {len(input_ids)} sequences of "
                                    f"{past + T} positions, not {tuple(attention_mask.shape)}")
            seen = attention_mask.bool()
        if position_ids is None:
            count = (torch.arange(past + T, device=input_ids.device)[None] if seen is None
                     else (seen.cumsum(-1) - 1).clamp(min=0))
            position_ids = count[:, past:]
        visible = None
        if seen is not None:
            causal = torch.ones(T, past + T, dtype=torch.bool, device=seen.device).tril(past)
            visible = causal & seen[:, None, None, :]                    # (B, 1, T, P)
        hidden = self.model(input_ids, position_ids, visible, cache)     # (B, T, dim)
        keep = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(hidden[:, keep])                           # (B, kept, vocab)
        loss = None
        if labels is not None:
            loss = self.loss_function(logits, labels, vocab_size=self.config.vocab_size, **kwargs)
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=cache)


AutoConfig.register(BrainGPTConfig.model_type, BrainGPTConfig, exist_ok=True)
AutoModelForCausalLM.register(BrainGPTConfig, BrainGPTForCausalLM, exist_ok=True)
