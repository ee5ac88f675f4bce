"""The energy report's counts: against shapes, recorded vectors, neurons and the golden device."""

from functools import cache

import numpy as np
import pytest
import torch

from golden.checkpoints.checkpoint import random_checkpoint
from golden.decoder import population_of
from golden.evaluation import energy
from golden.evaluation.energy import AS_TRAINED, SIGNED, UNARY, Census, Products, costs
from golden.quantisation.quantise import quantise
from golden.spiking_model.model import SpikingModel
from golden.units.neuron import total
from host.compiler.compile import compile_model
from host.driver import Driver
from host.transport.golden import GoldenTransport
from isa.configurations import configuration
from isa.schedule import EXACT_THRESHOLDS, Population, Schedule, phase_schedule, unary_schedule
from tests.golden.models import ODD, SEED, TINY

RAISED = {Population.down: (*EXACT_THRESHOLDS[:-1], 2),
          Population.attention: (*EXACT_THRESHOLDS[:-2], 3, 2)}


@cache
def spikes_of(code: int, program: Schedule) -> int:
    """Spikes of one neuron, stepped through its schedule."""
    return total(np.array([code]), program)[1]


def counted(config, lengths, thresholds=None, lanes=16):
    """(model, census, ids of each document) after a random model has run random documents."""
    print("seed", SEED)
    rng = np.random.default_rng(SEED)
    model = SpikingModel(quantise(random_checkpoint(config, SEED)))
    model.watch = census = Census(thresholds or {}, lanes)
    documents = [torch.tensor(rng.integers(0, config.vocab, n)) for n in lengths]
    for ids in documents:
        model(ids)
    return model, census, documents


@pytest.mark.parametrize("config", [TINY, ODD], ids=["tiny", "odd"])
def test_weights_are_the_shapes(config):
    """Multiply-accumulates of an int8 design, from the shapes alone."""
    c, lengths = config, (7, 11)
    model, census, _ = counted(config, lengths)
    maps = (c.dim * (c.attention_dim + 2 * c.kv_dim) + c.attention_dim * c.dim
            + 3 * c.dim * c.hidden)
    expected = sum(n * (c.layers * maps + c.dim * c.vocab) for n in lengths)
    for n in lengths:
        for position in range(n):
            expected += c.layers * 2 * c.heads * c.head_dim * (position + 1)
    assert sum(fired.weights for fired in census.fired.values()) == expected
    baseline = costs(model, census, lengths)[0]
    squares = 18 * c.dim * (2 * c.layers + 1)
    assert baseline.multiplies == baseline.accumulates == (expected + squares) / 18
    assert baseline.bytes_held == baseline.bytes_built == expected / 18 + c.dim
    assert baseline.synapses == pytest.approx((expected + squares) * 0.3 / 18 / 1000)


def test_signed_spikes_are_the_models_own_counters():
    model, census, documents = counted(ODD, (9, 5))
    activity, embedding = model.counters.total, model.counters.activity["embedding"]
    t = census.total(SIGNED)
    assert t.spikes == activity.spikes - embedding.spikes
    assert t.operations == activity.synaptic_operations - embedding.synaptic_operations
    assert census.total(UNARY).spikes == activity.unary_spikes - embedding.unary_spikes
    cost = {c.name: c for c in costs(model, census, (9, 5))}[SIGNED]
    assert cost.bytes_built * 14 == activity.synaptic_operations
    assert cost.accumulates * 14 == activity.synaptic_operations + t.squares


def test_every_schedule_against_its_neurons():
    """Codes caught on their way are fired by golden/units/neuron.py, one neuron after another."""
    print("seed", SEED)
    model = SpikingModel(quantise(random_checkpoint(TINY, SEED)))
    census, caught = Census(RAISED, 8), []

    def watch(*arguments):
        caught.append(arguments)
        census(*arguments)

    model.watch = watch
    model(torch.tensor(np.random.default_rng(SEED).integers(0, TINY.vocab, 6)))
    by_name = {UNARY: {}, SIGNED: {}, AS_TRAINED: RAISED}
    for schedule, raised in by_name.items():
        spikes, operations, needed, events = 0, 0, 0, 0
        for name, codes, outputs, _ in caught:
            program = unary_schedule() if schedule == UNARY else phase_schedule(
                raised.get(population_of(name), EXACT_THRESHOLDS))
            widths = torch.broadcast_to(torch.as_tensor(outputs)[..., None], codes.shape)
            for code, width in zip(codes.flatten().tolist(), widths.flatten().tolist(),
                                   strict=True):
                n = spikes_of(code, program)
                spikes, operations = spikes + n, operations + n * width
                needed, events = needed + (n > 0) * width, events + n * -(-width // 8)
        t = census.total(schedule)
        assert (t.spikes, t.operations, t.needed, t.events) == (spikes, operations, needed, events)
    for name, fired in census.fired.items():
        same = fired.by[AS_TRAINED] == fired.by[SIGNED]
        assert same == (population_of(name) not in RAISED), name
    assert census.total(AS_TRAINED).spikes < census.total(SIGNED).spikes


def test_the_golden_device_counts_the_same():
    """Events and synaptic operations of a whole run; the head runs for the last token only."""
    print("seed", SEED)
    c = configuration("tiny")
    q = quantise(random_checkpoint(TINY, SEED), fraction=10)
    ids = np.random.default_rng(SEED).integers(0, TINY.vocab, 9)
    model, census = SpikingModel(q), Census({}, c.lanes)

    def watch(name, codes, *rest):
        census(name, codes[-1:] if name == "logits" else codes, *rest)

    model.watch = watch
    model(torch.tensor(ids))
    driver = Driver(GoldenTransport(c), compile_model(q, c))
    driver.logits(ids.tolist())
    device = driver.counters()
    t, embedding = census.total(SIGNED), len(ids)
    assert device["synaptic_operations"] == t.operations + embedding * TINY.dim
    tiles = -(-TINY.dim // c.lanes)
    # The device makes keys and values before queries: their tiles are not those of one map.
    qkv = census.fired["qkv"].by[SIGNED]
    apart = sum(-(-n // c.lanes) for n in (TINY.attention_dim, 2 * TINY.kv_dim))
    together = -(-(TINY.attention_dim + 2 * TINY.kv_dim) // c.lanes)
    assert qkv.events == qkv.spikes * together
    assert device["events"] == t.events + embedding * tiles + qkv.spikes * (apart - together)


@pytest.mark.parametrize("config", [TINY, ODD], ids=["tiny", "odd"])
def test_products_are_those_of_the_recorded_vectors(config):
    model, ids, c = SpikingModel(quantise(random_checkpoint(config, SEED))), torch.arange(7), config
    record = {}
    model(ids, record)

    def elements(*names: str) -> int:
        return sum(v.numel() for n, v in record.items() if n.split(".")[-1] in names
                   or (len(n.split(".")) > 2 and n.split(".")[2] in names))

    scores = c.layers * c.heads * 28
    outputs = scores + elements("embedding", "qkv", "mixed", "attended", "gate", "up", "down",
                                "logits")
    made = energy.products(config, [7])
    assert [p.count for p in made] == [2 * outputs, 2 * elements("rotated"), elements("product"),
                                       elements("silu"), scores]
    biases = elements("qkv") if c.qkv_bias else 0
    assert energy.additions(config, [7]) == (elements("attended", "down", "rotated", "silu")
                                             + 3 * scores + biases)


def test_energy_of_products():
    assert Products(10, (8, 8), 4).multiplied == pytest.approx(10 * 0.2)
    assert Products(10, (32, 32), 16).multiplied == pytest.approx(10 * 3.1, rel=0.04)
    assert Products(10, (24, 8), 5).shifted == pytest.approx(10 * 4 * 0.1)


def test_totals_add_up():
    model, census, _ = counted(TINY, (6,), RAISED)
    table = costs(model, census, (6,))
    assert [c.name for c in table] == ["int8 MAC", "unary", "signed", "trained"]
    visits = sum(f.neuron_tiles for f in census.fired.values())
    for c, steps in zip(table, (0, 253, 8, 8), strict=True):
        assert c.arithmetic == pytest.approx(c.synapses + c.neurons + c.other)
        assert c.total_held == pytest.approx(c.arithmetic + c.bytes_held * 1.25 / 1000)
        assert c.total_built == pytest.approx(c.arithmetic + c.bytes_built * 1.25 / 1000)
        resets = census.total(c.name).events if steps == 8 else 0
        assert c.neurons == pytest.approx((visits * steps + resets) * 0.05 / 6 / 1000)
    assert table[3].accumulates < table[2].accumulates < table[1].accumulates
