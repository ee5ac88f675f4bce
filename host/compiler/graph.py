"""First pass: the model as a list of linear maps with names, in the order in which they are used.

What follows, except for the numbers themselves, needs their shapes only.
"""

from collections.abc import Mapping
from typing import TypeVar

import numpy as np

from golden.quantisation.quantise import Layer, QuantisedModel
from golden.quantisation.synapses import Synapses
from host.compiler.shapes import Map, Shapes

Named = TypeVar("Named")


def graph(q: QuantisedModel, s: Shapes) -> dict[str, Map]:
    """The shape of every map by name, in order of use, with heads padded. Of q only the
    configuration matters."""
    bias, query = q.config.qkv_bias, s.heads * s.head
    maps = {"embedding": Map(s.dim, s.vocab)}
    for n in range(s.layers):
        maps |= _named(n, {  # keys and values first: they are stored while the queries gather
            "key_value": Map(2 * s.kv, s.dim, bias),
            "query": Map(query, s.dim, bias),
            "out": Map(s.dim, query),
            "gate": Map(s.hidden, s.dim),
            "up": Map(s.hidden, s.dim),
            "down": Map(s.dim, s.hidden),
        })  # fmt: skip
    return maps | {"head": Map(s.vocab, s.dim)}


def layer_maps(layer: Layer, n: int, head_dim: int, s: Shapes) -> dict[str, Synapses]:
    """The integers of the maps of layer n, by the names and with the shapes of `graph`."""
    query = s.heads * s.head
    qkv = _pad_outputs(layer.qkv, s.heads + 2 * s.kv_heads, head_dim, s.head)
    return _named(n, {
        "key_value": qkv.part(query, qkv.outputs),
        "query": qkv.part(0, query),
        "out": _pad_inputs(layer.out, s.heads, head_dim, s.head),
        "gate": layer.gate,
        "up": layer.up,
        "down": layer.down,
    })  # fmt: skip


def layer_bound(layer: Layer) -> int:
    """The largest |accumulator| that any codes can give in a layer's maps."""
    maps = (layer.qkv, layer.out, layer.gate, layer.up, layer.down)
    return max(m.accumulator_bound for m in maps)


def accumulator_bound(q: QuantisedModel) -> int:
    """The largest |accumulator| that any codes can give in any map; the embedding's are weights."""
    return max(q.head.accumulator_bound, *(layer_bound(layer) for layer in q.layers))


def _named(n: int, maps: Mapping[str, Named]) -> dict[str, Named]:
    return {f"layers.{n}.{name}": value for name, value in maps.items()}


def _pad_heads(v: np.ndarray, heads: int, size: int, padded: int, axis: int) -> np.ndarray:
    """Every head along `axis` filled up with zeros from `size` to `padded` elements."""
    if size == padded:
        return v
    shape = list(v.shape)
    shape[axis : axis + 1] = [heads, size]
    widths = [(0, 0)] * len(shape)
    widths[axis + 1] = (0, padded - size)
    result = np.pad(v.reshape(shape), widths)
    shape[axis : axis + 2] = [heads * padded]
    return result.reshape(shape)


def _pad_outputs(m: Synapses, heads: int, size: int, padded: int) -> Synapses:
    """A map whose outputs are heads, padded; the new outputs are 0."""
    weight, gain, drop = (_pad_heads(v, heads, size, padded, 0) for v in (m.weight, m.gain, m.drop))
    bias = None if m.bias is None else _pad_heads(m.bias, heads, size, padded, 0)
    return Synapses(weight, gain, drop, m.exponent, bias)


def _pad_inputs(m: Synapses, heads: int, size: int, padded: int) -> Synapses:
    """A map whose inputs are heads, padded; the new inputs have no weights."""
    weight = _pad_heads(m.weight, heads, size, padded, 1)
    return Synapses(weight, m.gain, m.drop, m.exponent, m.bias)
