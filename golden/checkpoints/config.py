"""The shape of a BrainGPT model: a pre-norm decoder of Llama or Qwen2 form."""

from dataclasses import dataclass
from enum import StrEnum

from isa.errors import SpikeletError


class Attention(StrEnum):
    """How scores become the weights with which values are mixed."""

    softmax = "softmax"
    gate = "gate"  # no softmax: max(score, 0) gates values directly, over the number of positions


@dataclass(frozen=True)
class ModelConfig:
    """Sizes and constants of one model.

    Args:
        dim: width of the residual stream.
        hidden: width between the gate/up and the down projection.
        layers: number of decoder layers.
        heads: query heads.
        kv_heads: key/value heads; divides `heads`.
        head_dim: width of one head, even; need not be dim / heads.
        vocab: tokens in the vocabulary.
        context: longest sequence.
        rope_theta: base of the rotary embedding's frequencies.
        norm_epsilon: added to the mean square in RMSNorm.
        tied: the head is the embedding.
        qkv_bias: the q, k and v projections have biases (Qwen2).
        attention: softmax, or spiking attention without it.

    Raises:
        SpikeletError: sizes that no model can have.
    """

    dim: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    context: int
    rope_theta: float = 10000.0
    norm_epsilon: float = 1e-5
    tied: bool = True
    qkv_bias: bool = False
    attention: Attention = Attention.softmax

    def __post_init__(self) -> None:
        for name in ("dim", "hidden", "layers", "heads", "kv_heads", "head_dim", "vocab",
                     "context"):
            if getattr(self, name) < 1:
                raise SpikeletError(f"a model needs {name} of at least 1, not "
                                    f"{getattr(self, name)}: use another checkpoint")
        if self.heads % self.kv_heads:
            raise SpikeletError(f"{self.heads} heads cannot share {self.kv_heads} key/value heads "
                                "evenly: use another checkpoint")
        if self.head_dim % 2:
            raise SpikeletError(f"the rotary embedding needs an even head_dim, not "
                                f"{self.head_dim}: use another checkpoint")

    @property
    def attention_dim(self) -> int:
        """Elements of all query heads together."""
        return self.heads * self.head_dim

    @property
    def kv_dim(self) -> int:
        """Elements of all key (or value) heads together."""
        return self.kv_heads * self.head_dim

    @property
    def group(self) -> int:
        """Query heads that share one key/value head."""
        return self.heads // self.kv_heads

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Canonical name -> shape of every weight; matrices are (outputs, inputs).

        Layer weights are named `layers.<n>.<name>`. `head` is there for tied heads too.
        """
        layer: dict[str, tuple[int, ...]] = {
            "attention_norm": (self.dim,),
            "wq": (self.attention_dim, self.dim),
            "wk": (self.kv_dim, self.dim),
            "wv": (self.kv_dim, self.dim),
        }
        if self.qkv_bias:
            layer |= {"bq": (self.attention_dim,), "bk": (self.kv_dim,), "bv": (self.kv_dim,)}
        layer |= {
            "wo": (self.dim, self.attention_dim),
            "mlp_norm": (self.dim,),
            "w_gate": (self.hidden, self.dim),
            "w_up": (self.hidden, self.dim),
            "w_down": (self.dim, self.hidden),
        }
        shapes: dict[str, tuple[int, ...]] = {"embedding": (self.vocab, self.dim)}
        for n in range(self.layers):
            shapes |= {f"layers.{n}.{name}": shape for name, shape in layer.items()}
        shapes["final_norm"] = (self.dim,)
        shapes["head"] = (self.vocab, self.dim)
        return shapes
