"""What the tests against `transformers` share: random shapes, and weights moved by hand.

The names and the order of a head's rows are restated here, apart from the project's loaders.
"""

import numpy as np
import torch

from golden.model.checkpoint import Checkpoint
from golden.model.config import Attention, ModelConfig
from tests import seeds

NAMES = {"attention_norm": "input_layernorm.weight", "mlp_norm": "post_attention_layernorm.weight",
         "wq": "self_attn.q_proj.weight", "bq": "self_attn.q_proj.bias",
         "wk": "self_attn.k_proj.weight", "bk": "self_attn.k_proj.bias",
         "wv": "self_attn.v_proj.weight", "bv": "self_attn.v_proj.bias",
         "wo": "self_attn.o_proj.weight", "w_gate": "mlp.gate_proj.weight",
         "w_up": "mlp.up_proj.weight", "w_down": "mlp.down_proj.weight"}
TOP = {"embedding": "model.embed_tokens.weight", "final_norm": "model.norm.weight",
       "head": "lm_head.weight"}


def plain_name(name: str) -> str:
    """`layers.1.wq` -> `model.layers.1.self_attn.q_proj.weight`."""
    if name in TOP:
        return TOP[name]
    path, _, short = name.rpartition(".")
    return f"model.{path}.{NAMES[short]}"


def braingpt_name(name: str) -> str:
    """The same with every projection and the embedding inside a Synapsis."""
    module, _, leaf = plain_name(name).rpartition(".")
    inside = module.endswith(("_proj", "embed_tokens"))
    return f"{module}.layer.{leaf}" if inside else f"{module}.{leaf}"


def halves(weight: np.ndarray, head_dim: int) -> np.ndarray:
    """Rows of each head (0, 1, 2, 3, ...) -> (0, 2, ..., 1, 3, ...)."""
    rows = np.arange(len(weight)).reshape(-1, head_dim)
    return weight[np.concatenate([rows[:, 0::2], rows[:, 1::2]], 1).ravel()]


def neighbours(weight: np.ndarray, head_dim: int) -> np.ndarray:
    """The way back: rows of each head (0, hd/2, 1, hd/2 + 1, ...)."""
    rows = np.arange(len(weight)).reshape(-1, head_dim)
    return weight[np.stack([rows[:, :head_dim // 2], rows[:, head_dim // 2:]], 2).ravel()]


def turns(name: str) -> bool:
    """Whether the rows of this weight meet the rotary embedding."""
    return name.rpartition(".")[2] in ("wq", "wk", "bq", "bk")


def state_of(checkpoint: Checkpoint, naming=plain_name) -> dict[str, torch.Tensor]:
    """A checkpoint's weights as a state dict of `transformers`."""
    hd = checkpoint.config.head_dim
    return {naming(name): torch.tensor(halves(weight, hd) if turns(name) else weight)
            for name, weight in checkpoint.weights.items()}


def checkpoint_of(state: dict[str, torch.Tensor], config: ModelConfig,
                  naming=plain_name) -> Checkpoint:
    """A state dict of `transformers` as a checkpoint in canonical form."""
    weights = {name: state[naming(name)].detach().numpy() for name in config.weight_shapes()}
    return Checkpoint(config, {name: neighbours(weight, config.head_dim) if turns(name) else weight
                               for name, weight in weights.items()})


def common_keys(c: ModelConfig) -> dict:
    """The keys that every config.json of this family has."""
    return dict(vocab_size=c.vocab, hidden_size=c.dim, intermediate_size=c.hidden,
                num_hidden_layers=c.layers, num_attention_heads=c.heads,
                num_key_value_heads=c.kv_heads, head_dim=c.head_dim,
                max_position_embeddings=c.context, rms_norm_eps=c.norm_epsilon,
                tie_word_embeddings=c.tied, bos_token_id=0, eos_token_id=0)


def random_shape(name: str, **fixed) -> ModelConfig:
    """A shape that differs from name to name and with SPIKELET_SEED."""
    draw = seeds.generator(name)
    kv_heads, group = draw.randint(1, 3), draw.randint(1, 3)
    heads = kv_heads * group
    # Llama's config refuses a width that its heads do not divide, even where head_dim is given.
    shape = dict(dim=heads * draw.randint(3, 12) * 2, hidden=draw.randint(8, 90),
                 layers=draw.randint(1, 3), heads=heads, kv_heads=kv_heads,
                 head_dim=2 * draw.randint(1, 9), vocab=draw.randint(20, 200),
                 context=draw.randint(24, 48), tied=draw.random() < 0.5,
                 rope_theta=draw.choice([100.0, 10000.0, 500000.0, 1e6]),
                 norm_epsilon=draw.choice([1e-6, 1e-5, 1e-3]), qkv_bias=draw.random() < 0.5,
                 attention=Attention.softmax) | fixed
    config = ModelConfig(**shape)
    print(f"seed {seeds.seed()}, {name}: {config}")
    return config
