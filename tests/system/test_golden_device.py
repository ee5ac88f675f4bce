"""The program on the golden device = the integer model, every vector, wherever weights are."""

import numpy as np
import pytest
import torch

from golden.checkpoints.checkpoint import random_checkpoint
from golden.device.device import GoldenDevice
from golden.quantisation.quantise import quantise
from golden.spiking_model.model import SpikingModel
from host.compiler.compile import compile_model
from host.driver import Driver
from host.transport.golden import GoldenTransport
from isa.configurations import configuration
from tests.golden.models import ODD, ODD_GATE, SEED, TINY, TINY_GATE, WIDE_HEADS
from tests.system.golden_vectors import named_vectors

SHAPES = {"tiny": (TINY, "tiny"), "odd": (ODD, "large"), "wide heads": (WIDE_HEADS, "large"),
          "tiny gate": (TINY_GATE, "tiny"), "gate": (ODD_GATE, "large")}
WITH_EXTERNAL_MEMORY = {"tiny": "tiny_sdram", "large": "ulx3s_sdram"}
PARTS = {"qkv": ("query", "key_value"), "rotated": ("rotated_query", "rotated_key")}


@pytest.mark.parametrize("weights", ["resident", "streamed", "external"])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_vector_is_the_models(shape: str, weights: str) -> None:
    print(f"seed {SEED}")
    config, name = SHAPES[shape]
    if weights == "external":
        name = WITH_EXTERNAL_MEMORY[name]
    c = configuration(name)
    q = quantise(random_checkpoint(config, SEED), fraction=10)
    tokens = np.random.default_rng(SEED).integers(0, config.vocab, 11)
    record: dict = {}
    expected = SpikingModel(q).forward(torch.tensor(tokens), record)
    queries = config.heads * config.head_dim
    for n in range(config.layers):  # the program makes keys and values before the queries
        for whole, parts in PARTS.items():
            vector = record.pop(f"layers.{n}.{whole}")
            for part, piece in zip(parts, (vector[:, :queries], vector[:, queries:]), strict=True):
                record[f"layers.{n}.{part}"] = piece

    image = compile_model(q, c, weights=weights)
    transport = GoldenTransport(c)
    device: GoldenDevice = transport.device
    driver = Driver(transport, image)
    device.trace = []
    logits = driver.logits(tokens.tolist())
    assert np.array_equal(logits, expected[-1].numpy())

    vectors = named_vectors(q, c, image, device.trace)
    assert {p for _, p in vectors} == set(range(len(tokens)))
    for (label, position), got in vectors.items():
        want = record[label][position].numpy()[: len(got)]
        assert np.array_equal(got, want), f"{label}, position {position}"
    missing = set(record) - {label for label, _ in vectors}
    assert all(n == "logits" or n.endswith("alignment") for n in missing), missing
