"""The decoder, written once: which operator follows which in a pre-norm decoder of Llama's form.

What a vector is made of, and how an operator computes it, is an arithmetic's matter. There are
four, and every forward pass and every walk through a large model runs one of them through here:

- float: float32 (golden/float_model/arithmetic.py)
- training: float32, rounded where the device is coarse, with gradients
  (golden/quantisation/straight_through.py)
- exact: the device's integers, carried in float64 (golden/quantisation/exact.py)
- spiking: the device's integers, at once or spike by spike (golden/spiking_model/operators.py)

The last two share nothing but this file and the neuron's step, so that one checks the other.
"""

from dataclasses import dataclass
from typing import Any, Protocol

from isa.schedule import Population

Vector = Any  # an arithmetic's own: positions first, elements last
Heads = Any   # queries, keys and values in the form in which its `attend` takes them
Inner = Any   # what its `attend` and `gated` hand to `residual`: a vector, or its spike codes
Record = dict[str, Any]  # vectors by their full names


@dataclass(frozen=True)
class LinearMap:
    """A linear map of the decoder.

    Args:
        norm: the weight of the RMSNorm before it, or None.
        weights: the checkpoint's matrices of which it is made, one below the other.
        population: the neurons that fire into it.
        result: the name of the vector that it leaves behind; for a map into the residual stream
            that is the stream after the addition.
    """

    norm: str | None
    weights: tuple[str, ...]
    population: Population
    result: str


MAPS = {
    "qkv": LinearMap("attention_norm", ("wq", "wk", "wv"), Population.qkv, "qkv"),
    "out": LinearMap(None, ("wo",), Population.out, "attended"),
    "gate": LinearMap("mlp_norm", ("w_gate",), Population.gated, "gate"),
    "up": LinearMap("mlp_norm", ("w_up",), Population.gated, "up"),
    "down": LinearMap(None, ("w_down",), Population.down, "down"),
    "logits": LinearMap("final_norm", ("head",), Population.head, "logits"),
}
"""By name. All but `logits` are there once a layer."""

LAYER_MAPS = tuple(name for name in MAPS if name != "logits")


def full_name(n: int | None, name: str) -> str:
    """The name of a map or vector of layer n (`layers.3.qkv`); None: of none (`logits`)."""
    return name if n is None else f"layers.{n}.{name}"


_POPULATIONS = {name: m.population for key, m in MAPS.items() for name in (key, m.result)}


def population_of(name: str) -> Population:
    """The population that fires into a map or gives a vector, by its full name.

    What is no map, scores and mixed values, belongs to attention.
    """
    return _POPULATIONS.get(name.rpartition(".")[2], Population.attention)


class Arithmetic(Protocol):
    """The operators of a decoder. `n` is the layer, None behind the last one."""

    def embed(self, ids: Any) -> Vector:
        """Token ids to the residual stream."""

    def normed(self, x: Vector, n: int | None, maps: tuple[str, ...]) -> list[Any]:
        """RMSNorm of x, then each of the maps (`Heads` of `qkv`). All maps share the norm."""

    def attend(self, qkv: Heads, n: int) -> Inner:
        """Rotary embedding of queries and keys, then values mixed causally by their scores."""

    def residual(self, inner: Inner, n: int, name: str, x: Vector) -> Vector:
        """x plus a map of what `attend` or `gated` gave."""

    def gated(self, gate: Vector, up: Vector, n: int) -> Inner:
        """SiLU of the gate times up, element by element."""


def decoder_layer(a: Arithmetic, x: Vector, n: int) -> Vector:
    """Layer n of the residual stream x."""
    qkv, = a.normed(x, n, ("qkv",))
    x = a.residual(a.attend(qkv, n), n, "out", x)
    gate, up = a.normed(x, n, ("gate", "up"))
    return a.residual(a.gated(gate, up, n), n, "down", x)


def decode(a: Arithmetic, ids: Any, layers: int) -> Vector:
    """The logits of token ids."""
    x = a.embed(ids)
    for n in range(layers):
        x = decoder_layer(a, x, n)
    logits, = a.normed(x, None, ("logits",))
    return logits
