"""config.json of a Hugging Face folder: the model's shape, and the features that are refused.

Keys are those of Qwen2 (and Llama). Ours, with model_type "braingpt", adds `attention_bias` (of the
q, k and v projections), `attention` ("softmax" or "gate") and `firing_thresholds` (eight for each
population that plasticity has changed). Sources: transformers, configuration_qwen2.py,
configuration_llama.py, modeling_rope_utils.py.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from golden.checkpoints.config import Attention, ModelConfig
from isa.errors import SpikeletError
from isa.schedule import Population, phase_schedule

ARCHITECTURES = {"qwen2": "Qwen2ForCausalLM", "llama": "LlamaForCausalLM",
                 "braingpt": "BrainGPTForCausalLM"}
LARGEST = 1 << 20  # the largest size that is believed; a damaged one must not exhaust the memory
LARGEST_NUMBER = 1e30

Thresholds = dict[Population, tuple[int, ...]]


class ConfigFile:
    """The keys of one config.json, each read with a check of its kind.

    Raises:
        SpikeletError: no such file, no JSON object, an unknown architecture; later, a value of
            another kind.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.values = read_json(path)
        self.kind = self._architecture()

    def _architecture(self) -> str:
        """The model_type; where there is none, that of the first architecture."""
        name = next((name for name in self.get("architectures", list, [])
                     if isinstance(name, str)), None)
        kinds = {name: kind for kind, name in ARCHITECTURES.items()}
        kind = self.get("model_type", str, kinds.get(name))
        # BrainGPT's class has several names in released checkpoints, but one model_type.
        if kind not in ARCHITECTURES or (name not in (None, *kinds) and kind != "braingpt"):
            found = kind if kind and kind not in ARCHITECTURES else name
            raise SpikeletError(f"{self.path} names the unknown architecture '{found}': give a "
                                f"checkpoint of {', '.join(kinds)}")
        return kind

    def get(self, key: str, kinds: type | tuple[type, ...], default: Any = None) -> Any:
        """The value of a key; `default` where it is absent or null."""
        value = self.values.get(key)
        if value is None:
            return default
        if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
            raise self.wrong(key, value)
        return value

    def size(self, key: str, default: int | None = None) -> int:
        """A whole number from 1 on; one that must be there where there is no default."""
        value = self.get(key, int, default)
        if value is None:
            raise SpikeletError(f"{self.path} does not say {key}: give a checkpoint with its own "
                                "config.json")
        if not 1 <= value <= LARGEST:
            raise self.wrong(key, value)
        return value

    def positive(self, key: str, default: float) -> float:
        """A number above 0, of a size that floating point holds."""
        value = self.get(key, (int, float), default)
        if not 0 < value < LARGEST_NUMBER:
            raise self.wrong(key, value)
        return float(value)

    def wrong(self, key: str, value: Any) -> SpikeletError:
        """The line for a value that no model can have."""
        return SpikeletError(f"{self.path} says {key} {json.dumps(value)[:60]}, which no model can "
                             "have: give a checkpoint with its own config.json")

    def refuse(self, feature: str) -> SpikeletError:
        """The line for what the model would need and nothing here computes."""
        return SpikeletError(f"{self.path} asks for {feature}, which Spikelet does not compute: "
                             "use another checkpoint")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        SpikeletError: a file that cannot be read, is truncated or is no JSON object.
    """
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise SpikeletError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        where = f" (byte {error.pos})" if isinstance(error, json.JSONDecodeError) else ""
        raise SpikeletError(f"{path} is truncated or no JSON{where}: fetch the file "
                            "again") from None
    if not isinstance(value, dict):
        raise SpikeletError(f"{path} is no JSON object: fetch the file again")
    return value


def read_config(s: ConfigFile, has_head: bool, has_bias: bool) -> tuple[ModelConfig, Thresholds]:
    """Shape and trained firing thresholds that a config.json says.

    Args:
        has_head: the tensors hold a head, which makes it untied where the file does not say.
        has_bias: the tensors hold q/k/v biases, which counts where the file does not say.

    Raises:
        SpikeletError: a feature that is not computed, or a bad value.
    """
    heads, layers = s.size("num_attention_heads"), s.size("num_hidden_layers")
    dim, context = s.size("hidden_size"), s.size("max_position_embeddings")
    if s.values.get("head_dim") is None and dim % heads:
        raise s.wrong("num_attention_heads", heads)
    _refuse_features(s, layers, context)
    attention, thresholds = Attention.softmax, {}
    if s.kind == "braingpt":
        try:
            attention = Attention(s.get("attention", str, Attention.softmax))
        except ValueError:
            raise s.refuse(f"attention {s.values['attention']!r}") from None
        thresholds = _thresholds(s)
    config = ModelConfig(
        dim=dim, hidden=s.size("intermediate_size"), layers=layers, heads=heads,
        kv_heads=s.size("num_key_value_heads", heads), head_dim=s.size("head_dim", dim // heads),
        vocab=s.size("vocab_size"), context=context, rope_theta=_rope_theta(s),
        norm_epsilon=s.positive("rms_norm_eps", 1e-6),
        tied=s.get("tie_word_embeddings", bool, not has_head),
        qkv_bias=s.get("attention_bias", bool, has_bias), attention=attention,
    )  # fmt: skip
    return config, thresholds


def _refuse_features(s: ConfigFile, layers: int, context: int) -> None:
    activation = s.get("hidden_act", str, "silu")
    if activation != "silu":
        raise s.refuse(f"hidden_act {activation!r} (not silu)")
    if s.values.get("quantization_config"):
        raise s.refuse("quantised weights (quantization_config)")
    if s.positive("partial_rotary_factor", 1.0) != 1.0:
        raise s.refuse("a partial rotary embedding (partial_rotary_factor)")
    if s.get("mlp_bias", bool, False):
        raise s.refuse("biases in the MLP (mlp_bias)")
    kinds = s.get("layer_types", list)
    if kinds is not None:
        sliding = any(kind != "full_attention" for kind in kinds)
    else:
        sliding = (s.get("use_sliding_window", bool, False)
                   and s.size("sliding_window", context) < context
                   and s.get("max_window_layers", int, 0) < layers)
    if sliding:
        raise s.refuse("a sliding window (use_sliding_window, layer_types)")


def _rope_theta(s: ConfigFile) -> float:
    """The base of the rotary embedding; newer files keep it among `rope_parameters`."""
    theta = s.positive("rope_theta", 10000.0)
    for key in ("rope_scaling", "rope_parameters"):
        rope = s.get(key, dict, {})
        kind = rope.get("rope_type", rope.get("type", "default"))
        if kind != "default":
            raise s.refuse(f"rope scaling of type {kind!r} ({key})")
        if rope.get("rope_theta") is not None:
            nested = rope["rope_theta"]
            if not isinstance(nested, int | float) or not 0 < nested < LARGEST_NUMBER:
                raise s.wrong(f"{key}.rope_theta", nested)
            theta = float(nested)
    return theta


def _thresholds(s: ConfigFile) -> Thresholds:
    thresholds = {}
    for name, values in s.get("firing_thresholds", dict, {}).items():
        try:
            population = Population(name)
            if not all(type(value) is int for value in values):
                raise ValueError("a threshold is no whole number")
            thresholds[population] = tuple(values)
            phase_schedule(values)
        except (ValueError, TypeError) as error:
            raise SpikeletError(f"{s.path} has unusable firing_thresholds for '{name}' ({error}): "
                                "give the checkpoint that the training wrote") from None
    return thresholds


def config_values(config: ModelConfig, thresholds: Mapping[Population, tuple[int, ...]]
                  ) -> dict[str, Any]:
    """What our own config.json says of a model."""
    return {
        "architectures": [ARCHITECTURES["braingpt"]],
        "model_type": "braingpt",
        "torch_dtype": "float32",
        "hidden_act": "silu",
        "hidden_size": config.dim,
        "intermediate_size": config.hidden,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "vocab_size": config.vocab,
        "max_position_embeddings": config.context,
        "rope_theta": config.rope_theta,
        "rms_norm_eps": config.norm_epsilon,
        "tie_word_embeddings": config.tied,
        "attention_bias": config.qkv_bias,
        "attention": str(config.attention),
        "firing_thresholds": {str(population): list(values)
                              for population, values in thresholds.items()},
    }


def begin_and_end(path: Path) -> tuple[int | None, int | None]:
    """bos_token_id and eos_token_id of a config.json; None where it, or the key, is not there."""
    values = read_json(path) if path.exists() else {}
    ids: list[int | None] = []
    for key in ("bos_token_id", "eos_token_id"):
        value = values.get(key)
        if isinstance(value, list):     # several may end a text; the first does here
            value = next(iter(value), None)
        if value is not None and (type(value) is not int or value < 0):
            raise SpikeletError(f"{path} says {key} {json.dumps(value)[:60]}, a token's number is "
                                "needed: correct it")
        ids.append(value)
    return ids[0], ids[1]
