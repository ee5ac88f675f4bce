"""BrainGPT for `transformers`: from_pretrained, generate and save_pretrained on our own folders.

Only this module imports `transformers`. `import golden.float_model.braingpt` is enough for
AutoConfig and AutoModelForCausalLM to know the model type.
"""

from typing import Any

import torch
from torch import nn
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

from golden.checkpoints.checkpoint import Checkpoint
from golden.checkpoints.config import Attention, ModelConfig
from golden.checkpoints.huggingface import ROTATED, file_name, neighbours
from golden.float_model.braingpt_modules import Decoder
from golden.quantisation.calibrate import quantise_calibrated
from golden.spiking_model.model import SpikingModel
from isa.errors import SpikeletError
from isa.schedule import Population


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
        self.integers: SpikingModel | None = None
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.model.embed_tokens.layer

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.model.embed_tokens.layer = value

    def checkpoint(self) -> Checkpoint:
        """The weights in canonical form, for the rest of Spikelet: save, quantise, compile."""
        shape, state = self.config.shape(), self.state_dict()
        weights = {}
        for name in shape.weight_shapes():
            value = state[file_name(name)].float().cpu().numpy().copy()
            weights[name] = (neighbours(value, shape.head_dim) if name.endswith(ROTATED)
                             else value)
        if shape.tied:
            weights["head"] = weights["embedding"]
        thresholds = {Population(name): tuple(steps)
                      for name, steps in (self.config.firing_thresholds or {}).items()}
        return Checkpoint(shape, weights, thresholds)

    def spiking(self, documents: list[list[int]] | None = None) -> "BrainGPTForCausalLM":
        """From now on logits are the integer spiking model's, of the weights as they are now.

        Every step of `generate` computes the whole text: the integer model keeps no cache.

        Args:
            documents: token ids to calibrate on; without them the model tells some text itself.
        """
        self.integers = SpikingModel(quantise_calibrated(self.checkpoint(), documents))
        self.generation_config.use_cache = False
        return self

    def _spiking_logits(self, ids: torch.Tensor, mask: torch.Tensor | None,
                        cache: DynamicCache | None) -> torch.Tensor:
        if cache is not None or (mask is not None and not mask.all()):
            raise SpikeletError("the spiking model takes whole texts without padding: give one "
                                "text at a time, with use_cache=False")
        logits = torch.stack([self.integers.log_logits(row) for row in ids.cpu()])
        return logits.to(self.device, torch.float32)                     # (B, T, vocab)

    def _hidden(self, ids: torch.Tensor, mask: torch.Tensor | None,
                positions: torch.Tensor | None, cache: DynamicCache | None) -> torch.Tensor:
        """The residual stream (B, T, dim) of ids (B, T), as `forward` describes its arguments."""
        B, T = ids.shape
        if not isinstance(cache, DynamicCache | None):
            raise SpikeletError("BrainGPT generates with a dynamic cache only: leave out "
                                "cache_implementation")
        past = 0 if cache is None else cache.get_seq_length()
        if past + T > self.config.max_position_embeddings:
            raise SpikeletError(f"{past + T} tokens do not fit the model's context of "
                                f"{self.config.max_position_embeddings}: ask for fewer")
        position, visible = torch.arange(past + T, device=ids.device), None
        count = position[None]
        if mask is not None and not mask.all():
            if mask.shape != (B, past + T):
                raise SpikeletError(f"the attention mask must be of {B} sequences of {past + T} "
                                    f"positions, not {tuple(mask.shape)}")
            query = position[past:, None]
            # Padding sees itself: a softmax of nothing is no number.
            visible = (position <= query) & mask[:, None].bool() | (position == query)  # (B, T, P)
            count = (mask.cumsum(-1) - 1).clamp(min=0)
        if positions is None:
            positions = count[:, past:]
        return self.model(ids, positions, visible, cache)

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
            SpikeletError: more than the context holds, a cache of fixed size, a mask that is not
                (B, P), or padding or a cache for the spiking model.
        """
        cache, keep = past_key_values, logits_to_keep
        keep = slice(-keep, None) if isinstance(keep, int) else keep
        if self.integers is not None:
            logits = self._spiking_logits(input_ids, attention_mask, cache)[:, keep]
        else:
            if cache is None and (self.config.use_cache if use_cache is None else use_cache):
                cache = DynamicCache()
            hidden = self._hidden(input_ids, attention_mask, position_ids, cache)
            logits = self.lm_head(hidden[:, keep])                       # (B, kept, vocab)
        loss = None
        if labels is not None:
            loss = self.loss_function(logits, labels, vocab_size=self.config.vocab_size, **kwargs)
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=cache)


AutoConfig.register(BrainGPTConfig.model_type, BrainGPTConfig, exist_ok=True)
AutoModelForCausalLM.register(BrainGPTConfig, BrainGPTForCausalLM, exist_ok=True)
