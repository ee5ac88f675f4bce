"""BrainGPT's config.json for `transformers`: its keys, and what each other key may say.

Sources: transformers, configuration_qwen2.py and configuration_utils.py of versions 5.0 and 5.24;
the configuration of the released BrainGPT.
"""

from typing import Any

from transformers import PreTrainedConfig

from golden.checkpoints.config import Attention, ModelConfig
from isa.errors import SpikeletError

# Keys that the library itself reads and writes; none of them changes the model.
LIBRARY = {"architectures", "attn_implementation", "auto_map", "dtype", "experts_implementation",
           "id2label", "label2id", "name_or_path", "num_labels", "problem_type", "return_dict",
           "torch_dtype", "transformers_version"}
# Features that config.json files name and BrainGPT does not have: the value that means "without".
FIXED_KEYS: dict[str, Any] = {
    "model_type": "braingpt", "attention_dropout": 0.0, "chunk_size_feed_forward": 0,
    "is_encoder_decoder": False, "mlp_bias": False, "output_attentions": False,
    "output_hidden_states": False, "partial_rotary_factor": 1.0, "pretraining_tp": 1,
    "use_mrope": False}
# Keys without effect, whatever they say. They are not kept, because the library's cache would take
# a `sliding_window` for one that is in use.
IGNORED_KEYS = {
    "max_window_layers", "sliding_window",   # of a sliding window, and `use_sliding_window` is off
    "_commit_hash", "_name_or_path",         # where the file came from
    # Of the training of released checkpoints.
    "beta", "S_target", "V_target", "V_rest", "eta_theta", "eta_alpha", "eta_r", "lambda_T",
    "T_target", "C", "lambda_task", "lambda_stdp", "lambda_neuron", "lambda_time", "lambda_C",
    "lambda_reg"}


class BrainGPTConfig(PreTrainedConfig):
    """Qwen2's keys, `attention_bias` (of q, k and v), `attention` and `firing_thresholds`.

    Raises:
        SpikeletError: a feature that BrainGPT does not have, a shape that no model has, a key that
            is not known.
    """

    model_type = "braingpt"
    keys_to_ignore_at_inference = ["past_key_values", "cache"]

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

    # Versions before 5.4 have plain classes here, later ones dataclasses with other constructors:
    # with its own, this class is the same under both.
    def __init__(self, **values: Any) -> None:
        for name in BrainGPTConfig.__annotations__:
            setattr(self, name, values.pop(name, getattr(BrainGPTConfig, name)))
        if self.num_key_value_heads is None:
            self.num_key_value_heads = self.num_attention_heads
        if self.head_dim is None:
            self.head_dim = self.hidden_size // self.num_attention_heads
        for key in ("rope_scaling", "rope_parameters"):
            self._read_rope(key, values.pop(key, None) or {})
        kinds = set(values.pop("layer_types", None) or [])
        if values.pop("use_sliding_window", False) or kinds - {"full_attention"}:
            raise _refused("a sliding window (use_sliding_window, layer_types)")
        if values.pop("quantization_config", None):
            raise _refused("quantised weights (quantization_config)")
        for key, without in FIXED_KEYS.items():
            value = values.pop(key, None)
            if value is not None and value != without:
                raise _refused(f"{key} {value!r} (not {without!r})")
        kept = {key: value for key, value in values.items() if key not in IGNORED_KEYS}
        unknown = sorted(kept.keys() - LIBRARY)
        if unknown:
            raise SpikeletError(f"config.json holds {', '.join(unknown)}, which BrainGPT does not "
                                "know: use another checkpoint, or remove what the model does not "
                                "need")
        super().__init__(**kept)
        self.shape()

    def _read_rope(self, key: str, rope: dict[str, Any]) -> None:
        """Later versions of transformers write the base of the frequencies into a dictionary."""
        rope = dict(rope)
        kinds = {rope.pop("rope_type", None), rope.pop("type", None)} - {None, "default"}
        if kinds or rope.pop("partial_rotary_factor", 1.0) != 1.0:
            raise _refused(f"a rotary embedding other than the plain one ({key}: "
                           f"{', '.join(kinds) or 'partial_rotary_factor'})")
        self.rope_theta = float(rope.pop("rope_theta", self.rope_theta))
        if rope:
            raise _refused(f"{', '.join(map(str, rope))} of the rotary embedding ({key})")

    def shape(self) -> ModelConfig:
        """The same model as the rest of the golden model describes it."""
        if self.hidden_act != "silu":
            raise _refused(f"the activation {self.hidden_act!r} (not silu)")
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


def _refused(feature: str) -> SpikeletError:
    return SpikeletError(f"config.json asks for {feature}, which BrainGPT does not have: use "
                         "another checkpoint")
