"""Qwen2 and Llama of `transformers`, the oracle, with our shapes and weights."""

import inspect

import torch
import transformers

from golden.checkpoints.checkpoint import Checkpoint, random_checkpoint
from golden.checkpoints.config import ModelConfig
from tests.golden.folders import config_json, tensors

# What this version calls the cache, in arguments and results.
CACHE = ("cache" if "cache" in inspect.signature(transformers.Qwen2ForCausalLM.forward).parameters
         else "past_key_values")


def model(c: ModelConfig, family: str) -> transformers.PreTrainedModel:
    """An untrained model of the library in this shape; eager attention, so nothing is fused."""
    keys = config_json(random_checkpoint(c, 0), {}, sliding_window=None, use_sliding_window=None)
    extra = dict(attention_bias=c.qkv_bias) if family == "Llama" else {}
    config = getattr(transformers, f"{family}Config")(**keys, **extra, attn_implementation="eager")
    return getattr(transformers, f"{family}ForCausalLM")(config).eval()


def filled(checkpoint: Checkpoint, family: str) -> transformers.PreTrainedModel:
    """A model of the library with a checkpoint's weights.

    Biases that ours do not have are 0: Qwen2's of q, k and v, and Llama's of the output projection,
    which come with the others.
    """
    c = checkpoint.config
    made, state = model(c, family), tensors(checkpoint)
    biases = {"o_proj"} if family == "Llama" else {"q_proj", "k_proj", "v_proj"}
    needed = c.qkv_bias == (family == "Llama")
    for name, value in made.state_dict().items():
        if needed and name.endswith(".bias") and name.split(".")[-2] in biases:
            state[name] = torch.zeros_like(value)
    if c.tied:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    made.load_state_dict(state)       # complains of a name too many or too few
    return made
