"""Laying a model out from its shapes, and assembling its image map by map in any order."""

import dataclasses
import itertools

import numpy as np
import pytest

from golden.checkpoints.checkpoint import random_checkpoint
from golden.quantisation.quantise import outline, quantise
from host.compiler import emit
from host.compiler.compile import compile_model
from host.compiler.emit import Assembly
from host.compiler.graph import accumulator_bound
from host.compiler.plan import plan
from isa.configurations import configuration
from isa.errors import SpikeletError
from tests.golden.large import HALF_BILLION, Shape
from tests.golden.models import ODD, TINY
from tests.isa.test_image import assert_same
from tests.seeds import generator, seed


@pytest.mark.parametrize("weights", ["resident", "streamed"])
@pytest.mark.parametrize("shape", [TINY, ODD], ids=["tiny", "odd"])
def test_maps_in_any_order_make_the_compilers_image(monkeypatch, shape, weights):
    monkeypatch.setattr(emit, "CHUNK_WORDS", 50)  # the embedding comes in parts
    checkpoint, c, random = random_checkpoint(shape, seed()), configuration("large"), generator("a")
    q = quantise(checkpoint, 10)
    assembly = Assembly(plan(outline(checkpoint, 10), c, weights, context=24, end_token=3))
    steps = [lambda: assembly.embedding(q.embedding), lambda: assembly.head(q.head)]
    steps += [lambda n=n, layer=layer: assembly.layer(n, layer)
              for n, layer in enumerate(q.layers)]
    random.shuffle(steps)
    outlined = assembly.image().arrays()
    arrays = [np.zeros(words.shape, np.uint32) for words in outlined]
    missing = sum(words.size for words in arrays)
    for index, first, words in itertools.chain(*(step() for step in steps), assembly.constants()):
        arrays[index].reshape(-1)[first:first + words.size] = words
        missing -= words.size
    assert not missing
    assert all(words.strides == (0,) * words.ndim for words in outlined)
    assert_same(assembly.image(arrays), compile_model(q, c, weights, context=24, end_token=3))


def test_large_holds_half_a_billion_parameters():
    """Qwen2-0.5B's shape, with streamed weights, for 512 positions."""
    model = outline(Shape(HALF_BILLION))
    assembly = Assembly(plan(model, configuration("large"), "streamed"))
    image = assembly.image()
    assert image.context == 512
    assert image.stream.embedding.shape[0] == HALF_BILLION.vocab
    # 4 bytes of 896 columns' tiles and cores a token; every other weight once, in whole tiles.
    assert image.stream.embedding.shape[1] == 14 * 64
    layers = HALF_BILLION.layers * (896 * (896 * 2 + 256) + 3 * 896 * 4864)
    rows = sum(words.size * 4 for part in (image.stream.body, image.stream.head)
               for space, words in part if space.name == "ROW")
    assert rows == layers + 151_936 * 896
    with pytest.raises(SpikeletError) as caught:
        plan(model, configuration("ulx3s"))
    assert str(caught.value).endswith("use --config large --weights streamed")


def test_the_accumulator_is_checked_as_maps_come():
    checkpoint = random_checkpoint(ODD, seed())
    q = quantise(checkpoint, 10)
    bound = accumulator_bound(q)
    maps = [q.head, *(getattr(layer, field.name) for layer in q.layers
                      for field in dataclasses.fields(layer))]
    assert bound == max(128 * np.abs(m.weight.astype(int)).sum(1).max() for m in maps)
    has = bound.bit_length()  # one less than it takes; for 8 positions attention takes 19
    assert has >= 19
    narrow = dataclasses.replace(configuration("large"), accumulator_bits=has)
    assembly = Assembly(plan(outline(checkpoint, 10), narrow, context=8))
    message = rf"needs accumulator_bits {has + 1} \(it has {has}\)"
    with pytest.raises(SpikeletError, match=message):
        for n, layer in enumerate(q.layers):
            list(assembly.layer(n, layer))
        list(assembly.head(q.head))
    with pytest.raises(SpikeletError, match=message):
        compile_model(q, narrow, context=8)
