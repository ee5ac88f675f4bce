"""Quantisation map by map and in parts = all at once, in plain words of whole matrices."""

import dataclasses
import math

import numpy as np
import pytest

from golden.checkpoints.checkpoint import Checkpoint, random_checkpoint
from golden.quantisation import synapses
from golden.quantisation.quantise import (
    outline,
    quantise,
    quantise_embedding,
    quantise_head,
    quantise_layer,
)
from golden.quantisation.synapses import Synapses, quantise_synapses
from isa.errors import SpikeletError
from tests.golden.models import ODD, TINY, WIDE_HEADS
from tests.seeds import seed


def plain(weight: np.ndarray, one_hot: bool = False) -> Synapses:
    """The whole matrix in float64, row by row."""
    rows, gains, exponents, bounds = [], [], [], []
    for row in weight.astype(np.float64):
        peak = max(np.abs(row).max(), 2.0**-60) / 127
        e = math.floor(math.log2(peak))
        gain = min(max(round(peak / 2.0**e * 128), 128), 255)
        codes = np.clip(np.round(row / (gain / 128 * 2.0**e)), -127, 127).astype(int)
        rows.append(codes)
        gains.append(gain)
        exponents.append(e - 7)
        bounds.append(gain * int(abs(codes).max() if one_hot else 128 * abs(codes).sum()))
    top = max((e for e, row in zip(exponents, rows, strict=True) if row.any()), default=0)
    exponents = [e if row.any() else top for e, row in zip(exponents, rows, strict=True)]
    guard = max(0, *((b + (b >> 16)).bit_length() - 23 - (top - e)
                     for b, e in zip(bounds, exponents, strict=True)))
    drops = np.array([min(top - e + guard, 63) for e in exponents])
    return Synapses(np.array(rows), np.array(gains), drops, top + guard)


def assert_same(a: Synapses, b: Synapses) -> None:
    assert a.exponent == b.exponent
    for name in ("weight", "gain", "drop"):
        assert np.array_equal(getattr(a, name), getattr(b, name)), name
    assert (a.bias is None) == (b.bias is None)
    assert a.bias is None or np.array_equal(a.bias, b.bias)


def damaged(seed_: int) -> Checkpoint:
    """A random checkpoint with silent rows, and rows of very different sizes."""
    checkpoint = random_checkpoint(ODD, seed_)
    checkpoint.weights["layers.0.wo"][3] = 0
    checkpoint.weights["layers.0.wo"][5] *= 1e-4
    checkpoint.weights["embedding"][:, 7] = 0
    checkpoint.weights["embedding"][:, 8] *= 1e4
    return checkpoint


@pytest.mark.parametrize("chunk", [1, 100, 1 << 22])
def test_parts_of_a_matrix_make_the_whole(monkeypatch, chunk):
    monkeypatch.setattr(synapses, "CHUNK_ELEMENTS", chunk)
    checkpoint = damaged(seed())
    w = checkpoint.weights
    out = quantise_layer(checkpoint, 0, 12).out
    assert_same(out, plain(w["layers.0.wo"]))
    embedding = quantise_embedding(checkpoint)
    assert_same(embedding, plain(w["embedding"].T, one_hot=True))
    assert out.weight.dtype == embedding.weight.dtype == np.int8
    columns = np.random.default_rng(seed()).uniform(0.5, 1.5, ODD.dim)
    assert_same(quantise_synapses(w["head"], columns=columns),
                plain(w["head"].astype(np.float64) * columns))


@pytest.mark.parametrize("config", [TINY, ODD, WIDE_HEADS], ids=["tiny", "odd", "wide"])
def test_map_by_map_is_the_whole_model(config):
    checkpoint = random_checkpoint(config, seed())
    whole = quantise(checkpoint, 9)
    for n, layer in enumerate(whole.layers):
        alone = quantise_layer(checkpoint, n, 9)
        for field in dataclasses.fields(layer):
            assert_same(getattr(layer, field.name), getattr(alone, field.name))
    assert_same(whole.embedding, quantise_embedding(checkpoint))
    assert_same(whole.head, quantise_head(checkpoint))


def test_an_outline_has_shapes_and_constants_but_no_weights():
    checkpoint = random_checkpoint(ODD, seed())
    whole, empty = quantise(checkpoint, 9), outline(checkpoint, 9)
    pairs = [(whole.embedding, empty.embedding), (whole.head, empty.head)]
    for a, b in zip(whole.layers, empty.layers, strict=True):
        pairs += [(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a)]
    for a, b in pairs:
        for outlined in (b, a.outline()):
            assert outlined.weight.shape == a.weight.shape
            assert outlined.weight.strides == (0, 0)
            assert (outlined.bias is None) == (a.bias is None)
        assert a.outline().exponent == a.exponent
    for field in dataclasses.fields(whole):
        if field.name not in ("embedding", "layers", "head", "tables"):
            a, b = getattr(whole, field.name), getattr(empty, field.name)
            assert np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b, field.name


def test_some_outputs_of_a_map():
    layer = quantise_layer(random_checkpoint(ODD, seed()), 1, 12)
    part = layer.qkv.part(5, 17)
    assert part.outputs == 12 and part.exponent == layer.qkv.exponent
    assert np.array_equal(part.weight, layer.qkv.weight[5:17])
    assert np.array_equal(part.bias, layer.qkv.bias[5:17])
    assert layer.out.part(0, 3).bias is None


@pytest.mark.parametrize("name", ["embedding", "layers.1.w_up", "layers.0.mlp_norm"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers(name, value):
    checkpoint = random_checkpoint(TINY, seed())
    checkpoint.weights[name][2] = value
    with pytest.raises(SpikeletError, match="not finite"):
        quantise(checkpoint)


@pytest.mark.parametrize("fraction", [3, 13])
def test_fractions_that_do_not_exist(fraction):
    with pytest.raises(SpikeletError, match="not in 4..12"):
        quantise(random_checkpoint(TINY, seed()), fraction)
