"""BrainGPT for `transformers`: from_pretrained, generate and save_pretrained on our own folders.

Only this module and its configuration import `transformers`. `import
golden.float_model.braingpt` is enough for AutoConfig and AutoModelForCausalLM to know the model
type. Versions before 5.24 call the cache `past_key_values`, later ones `cache`: both names are
taken.
"""

import dataclasses
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    DynamicCache,
    GenerationMixin,
    PreTrainedModel,
)
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.utils import can_return_tuple

from golden.checkpoints.checkpoint import Checkpoint
from golden.checkpoints.huggingface import ROTATED, file_name, neighbours
from golden.float_model.braingpt_config import BrainGPTConfig
from golden.float_model.braingpt_modules import Decoder
from golden.quantisation.calibrate import quantise_calibrated
from golden.spiking_model.model import SpikingModel
from isa.errors import SpikeletError
from isa.schedule import Population

# The cache's name among what `forward` gives back, as the installed version has it: `cache` from
# 5.24 on, `past_key_values` before.
CACHE = ("cache" if "cache" in {field.name for field in dataclasses.fields(CausalLMOutputWithPast)}
         else "past_key_values")
# Arguments that `generate` and Trainer may hand to `forward`, which has no use for them.
IGNORED = {"cache_position"}   # of older versions: the cache knows how long it is
# Features of other models: BrainGPT does not have them, and takes None or False only.
WITHOUT = {"inputs_embeds", "token_type_ids", "output_attentions", "output_hidden_states"}


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
                        positions: torch.Tensor | None, cached: bool) -> torch.Tensor:
        """The integer model's logits (B, T, vocab) of ids (B, T), positions (B or 1, T)."""
        plain = torch.arange(ids.shape[1], device=ids.device)
        if cached or (mask is not None and not mask.all()) or (
                positions is not None and (positions != plain).any()):
            raise SpikeletError("the spiking model takes whole texts without padding: give one "
                                "text at a time, with use_cache=False")
        logits = torch.stack([self.integers.log_logits(row) for row in ids.cpu()])
        return logits.to(self.device, torch.float32)                     # (B, T, vocab)

    def _hidden(self, ids: torch.Tensor, mask: torch.Tensor | None,
                positions: torch.Tensor | None, cache: DynamicCache | None) -> torch.Tensor:
        """The residual stream (B, T, dim) of ids (B, T), as `forward` describes its arguments."""
        T, past = ids.shape[1], 0 if cache is None else cache.get_seq_length()
        if past + T > self.config.max_position_embeddings:
            raise SpikeletError(f"{past + T} tokens do not fit the model's context of "
                                f"{self.config.max_position_embeddings}: ask for fewer")
        position, visible = torch.arange(past + T, device=ids.device), None
        count = position[None]
        if mask is not None and not mask.all():
            query = position[past:, None]
            # Padding sees itself: a softmax of nothing is no number.
            visible = (position <= query) & mask[:, None].bool() | (position == query)  # (B, T, P)
            count = (mask.cumsum(-1) - 1).clamp(min=0)
        if positions is None:
            positions = count[:, past:]
        return self.model(ids, positions, visible, cache)

    @can_return_tuple
    def forward(self, input_ids: torch.Tensor | None = None,
                attention_mask: torch.Tensor | None = None,
                position_ids: torch.Tensor | None = None,
                past_key_values: DynamicCache | None = None, labels: torch.Tensor | None = None,
                use_cache: bool | None = None, logits_to_keep: int | torch.Tensor = 0, *,
                cache: DynamicCache | None = None,
                num_items_in_batch: int | torch.Tensor | None = None,
                **others: Any) -> CausalLMOutputWithPast:
        """Logits of the last `logits_to_keep` positions given (0: all).

        Args:
            input_ids: (B, T).
            attention_mask: (B, P), 0 where a position is padding, of cached positions too.
            position_ids: (B, T) or (1, T); counted from the mask or the cache without them.
            past_key_values, cache: two names for what an earlier call gave back.
            labels: (B, T); gives the mean loss of predicting each token.
            num_items_in_batch: with labels, what the sum of the losses is divided by instead.
            others: only what IGNORED and WITHOUT name.

        Raises:
            SpikeletError: no tokens, more than the context holds, a cache of fixed size, a mask
                that is not (B, P), padding or a cache for the spiking model, an argument that
                BrainGPT has no use for.
        """
        _refuse(others)
        if input_ids is None:
            raise SpikeletError("BrainGPT reads tokens: give input_ids")
        if cache is not None and past_key_values is not None:
            raise SpikeletError("cache and past_key_values are two names of one argument: give one")
        cache, keep = past_key_values if cache is None else cache, logits_to_keep
        _check_cache(cache)
        _check_mask(attention_mask, input_ids, cache)
        keep = slice(-keep, None) if isinstance(keep, int) else keep
        if self.integers is not None:
            logits = self._spiking_logits(input_ids, attention_mask, position_ids,
                                          cached=bool(use_cache) or cache is not None)[:, keep]
        else:
            if cache is None and (self.config.use_cache if use_cache is None else use_cache):
                cache = DynamicCache()
            hidden = self._hidden(input_ids, attention_mask, position_ids, cache)
            logits = self.lm_head(hidden[:, keep])                       # (B, kept, vocab)
        loss = None
        if labels is not None:
            loss = self.loss_function(logits, labels, vocab_size=self.config.vocab_size,
                                      num_items_in_batch=num_items_in_batch)
        return CausalLMOutputWithPast(loss=loss, logits=logits, **{CACHE: cache})


def _refuse(others: dict[str, Any]) -> None:
    """Raises SpikeletError for the first of forward's further arguments that asks for something."""
    for name, value in others.items():
        if name in IGNORED or (name in WITHOUT and (value is None or value is False)):
            continue
        raise SpikeletError(f"BrainGPT has no use for {name}: leave it out")


def _check_cache(cache: DynamicCache | None) -> None:
    if not isinstance(cache, DynamicCache | None) or (cache is not None and any(cache.is_sliding)):
        raise SpikeletError("BrainGPT generates with a dynamic cache of all positions only: leave "
                            "out cache_implementation")


def _check_mask(mask: torch.Tensor | None, ids: torch.Tensor, cache: DynamicCache | None) -> None:
    B, T = ids.shape
    positions = T + (0 if cache is None else cache.get_seq_length())
    if mask is not None and mask.shape != (B, positions):
        raise SpikeletError(f"the attention mask must be of {B} sequences of {positions} "
                            f"positions, not {tuple(mask.shape)}")


AutoConfig.register(BrainGPTConfig.model_type, BrainGPTConfig, exist_ok=True)
AutoModelForCausalLM.register(BrainGPTConfig, BrainGPTForCausalLM, exist_ok=True)
