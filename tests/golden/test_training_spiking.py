"""Stage 2: the quantised model's logits are the spiking model's; a wrong integer is found."""

from dataclasses import replace

import pytest
import torch

from golden.checkpoints.checkpoint import Checkpoint, random_checkpoint
from golden.quantisation.calibrate import quantise_calibrated
from golden.quantisation.quantise import quantise
from golden.training.spiking_stage import compare
from isa.errors import SpikeletError
from isa.schedule import phase_schedule, unary_schedule
from tests.golden.models import ODD, ODD_GATE, SEED, TINY, TINY_GATE, random_ids
from tests.golden.test_quantised import raised
from tests.golden.training import SHAPE, learnable, trained

MODELS = {
    "tiny": lambda: random_checkpoint(TINY, SEED),
    "odd": lambda: random_checkpoint(ODD, SEED),
    "gate": lambda: random_checkpoint(TINY_GATE, SEED),
    "odd gate": lambda: random_checkpoint(ODD_GATE, SEED),
    "trained": trained,
}


@pytest.mark.parametrize("thresholds", [{}, raised()], ids=["exact", "raised"])
@pytest.mark.parametrize("name", MODELS)
def test_equal_integers(name, thresholds):
    model = MODELS[name]()
    checkpoint = Checkpoint(model.config, model.weights, thresholds)
    integers, ids = quantise_calibrated(checkpoint), random_ids(model.config, 15)
    spikes = []
    for schedule in (None, phase_schedule(), unary_schedule()):
        found = compare(checkpoint, integers, ids, schedule)
        assert (found.different, found.first) == (0, None)
        assert found.logits == 15 * model.config.vocab
        assert found.schedule == (schedule.name if schedule else "codes at once")
        spikes.append(found.spikes)
    assert spikes[0] == 0 < spikes[1] < spikes[2]


def test_a_wrong_integer_is_found():
    checkpoint, ids = random_checkpoint(TINY, SEED), random_ids(TINY, 12)
    integers = quantise(checkpoint)
    weight = integers.head.weight.copy()
    weight[23] = -weight[23]
    wrong = replace(integers, head=replace(integers.head, weight=weight))
    for schedule in (None, phase_schedule()):
        found = compare(checkpoint, wrong, ids, schedule)
        assert (found.different, found.first) == (12, (0, 23))


def test_a_wrong_integer_within():
    """A token's embedding is wrong: all before the token is equal."""
    checkpoint = random_checkpoint(TINY, SEED)
    ids = torch.tensor([3, 3, 3, 5, 3])
    integers = quantise(checkpoint)
    rows = integers.embedding.weight.copy()     # (dim, vocab)
    rows[:, 5] = -rows[:, 5]
    wrong = replace(integers, embedding=replace(integers.embedding, weight=rows))
    found = compare(checkpoint, wrong, ids, None)
    assert found.first[0] == 3 and 0 < found.different <= 2 * TINY.vocab


def test_thresholds_that_the_integers_lack():
    exact = random_checkpoint(TINY, SEED)
    checkpoint = Checkpoint(TINY, exact.weights, raised())
    assert compare(checkpoint, quantise(exact), random_ids(TINY, 12), phase_schedule()).different


def test_more_tokens_than_the_context():
    ids = learnable(batch=1, length=SHAPE.context).batch(torch.Generator().manual_seed(1))[0]
    integers = quantise(trained())
    assert compare(trained(), integers, ids[:-1], None).different == 0
    with pytest.raises(SpikeletError, match="25 tokens are more than the context of 24"):
        compare(trained(), integers, ids, None)
