"""Firing thresholds of each population: RTL = golden device; what the compiler places."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from golden.checkpoints.checkpoint import random_checkpoint
from golden.checkpoints.config import ModelConfig
from golden.decoder import decode
from golden.quantisation.exact import ExactArithmetic
from golden.quantisation.quantise import QuantisedModel, quantise
from host.compiler.compile import compile_model
from host.driver import Driver
from host.transport.golden import GoldenTransport
from isa.configurations import configuration
from isa.errors import SpikeletError
from isa.instructions import FIRE, Opcode
from isa.packets import Space
from isa.schedule import (
    EXACT_THRESHOLDS,
    Population,
    Schedule,
    phase_schedule,
    unary_schedule,
)
from tests.golden.models import ODD_GATE, SEED, TINY, TINY_GATE
from tests.system.pairs import FRACTION, Pair, random_model


def raised(seed: int = SEED) -> dict[Population, Schedule]:
    """Random thresholds for every population: at most a third above the exact ones."""
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    return {
        p: phase_schedule([e + int(rng.integers(e // 3 + 2)) for e in EXACT_THRESHOLDS], str(p))
        for p in Population
    }


def with_schedules(config: ModelConfig, schedules: dict[Population, Schedule]) -> QuantisedModel:
    return replace(random_model(config, SEED), schedules=schedules)


def first_steps(image) -> dict[str, int]:
    """Operator -> first step of its FIRE instructions."""
    labels, steps = image.model["labels"], {}
    program = next(s.words for s in image.sections if s.space is Space.PROGRAM)
    for label, words in zip(labels, program.reshape(len(labels), -1), strict=True):
        word = sum(int(w) << 32 * n for n, w in enumerate(words))
        if word & 15 == Opcode.FIRE:
            parts = label.split(".")
            steps.setdefault(parts[2] if len(parts) > 1 else label, set()).add(
                FIRE.unpack(word)["first_step"])  # fmt: skip
    return {operator: next(iter(found)) for operator, found in steps.items() if len(found) == 1}


@pytest.mark.parametrize("config", [TINY, TINY_GATE], ids=["softmax", "gate"])
@pytest.mark.parametrize("weights", ["resident", "streamed"])
def test_every_vector_with_thresholds_of_each_population(config: ModelConfig, weights: str) -> None:
    start = np.random.default_rng(SEED).integers(0, config.vocab, 6).tolist()
    with Pair(with_schedules(config, raised()), "tiny", weights) as pair:
        pair.simulated.device.stalls(0.3, 0.3, SEED)
        pair.generate(start, 8)
        lossy = pair.drivers[0].logits(start)
        pair.logits(start)
    with Pair(random_model(config, SEED), "tiny", weights) as exact:
        assert not np.array_equal(exact.drivers[0].logits(start), lossy)


def test_the_golden_device_gives_the_quantised_networks_integers() -> None:
    """Thresholds from a checkpoint: logits of the network that is trained, in its exact form."""
    thresholds = {p: tuple(s.threshold for s in r.steps) for p, r in raised().items()}
    checkpoint = replace(random_checkpoint(TINY, SEED), thresholds=thresholds)
    ids = np.random.default_rng(SEED).integers(0, TINY.vocab, 12)
    q, c = quantise(checkpoint, fraction=FRACTION), configuration("tiny")
    with torch.no_grad():
        (expected,) = decode(ExactArithmetic(q), torch.tensor(ids)[None], q.config.layers)
    image = compile_model(q, c)
    for count in (1, 12):
        got = Driver(GoldenTransport(c), image).logits(ids[:count].tolist())
        assert np.array_equal(got, expected[count - 1].numpy())


def test_unary_fires_every_code_whole() -> None:
    """Whatever thresholds a model has, the unary schedule is exact."""
    start = [1, 2, 3]
    with Pair(with_schedules(TINY, raised()), "tiny", schedule="unary") as unary:
        got = unary.generate(start, 4)
        logits = unary.drivers[0].logits(start)
    with Pair(random_model(TINY, SEED), "tiny") as exact:
        assert exact.generate(start, 4).tokens == got.tokens
        assert np.array_equal(exact.drivers[0].logits(start), logits)


def test_equal_schedules_are_placed_once() -> None:
    high = phase_schedule([2 * e for e in EXACT_THRESHOLDS])
    schedules = {Population.down: high, Population.out: high, Population.head: phase_schedule()}
    image = compile_model(with_schedules(ODD_GATE, schedules), configuration("large"))
    words = next(s.words for s in image.sections if s.space is Space.SCHEDULE)
    assert words.tolist() == phase_schedule().words() + high.words()
    steps = first_steps(image)
    assert {o for o, first in steps.items() if first} == {"attended", "down"}
    assert steps["attended"] == steps["down"] == 8
    assert {"score", "mixed", "query", "key_value", "gate", "up", "logits"} <= steps.keys()


def test_schedules_of_different_starts_share_the_earliest() -> None:
    """A thermometer for one population among phases: nothing that fires is skipped."""
    short = Schedule("short", unary_schedule().steps[:100])
    with Pair(with_schedules(TINY, {Population.gated: short}), "tiny") as pair:
        pair.generate([5, 6, 7], 4)
    assert all(pair.image.settings[f"start_{b}"] == 0 for b in range(8))


def test_schedules_that_do_not_fit() -> None:
    q = with_schedules(TINY, {Population.gated: unary_schedule()})
    with pytest.raises(SpikeletError, match="135 steps together, the schedule memory holds 128"):
        compile_model(q, configuration("tiny"))
    compile_model(q, configuration("tiny"), schedule="unary")
