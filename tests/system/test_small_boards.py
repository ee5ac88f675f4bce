"""The configurations of small boards: RTL = golden device, every vector."""

import pytest

from golden.checkpoints.config import ModelConfig
from host.compiler.compile import compile_model
from isa.configurations import configuration
from tests.golden.models import SEED, TINY
from tests.system.pairs import Pair, random_model
from tests.system.test_device import prompt

STORIES_260K = ModelConfig(dim=64, hidden=172, layers=5, heads=8, kv_heads=4, head_dim=8, vocab=512,
                           context=128, rope_theta=10_000.0, norm_epsilon=1e-5)  # fmt: skip


@pytest.mark.parametrize(("name", "weights"), [
    ("minimal", "streamed"),
    pytest.param("ulx3s_25f", "streamed", marks=pytest.mark.extra),
    pytest.param("tang_mega", "resident", marks=pytest.mark.slow),
])  # fmt: skip
def test_every_vector(name: str, weights: str) -> None:
    with Pair(random_model(TINY, SEED), name, weights) as pair:
        pair.simulated.device.stalls(0.3, 0.3, SEED)
        pair.generate(prompt(TINY, 5), 6)
        pair.logits(prompt(TINY, 3))


@pytest.mark.parametrize(("name", "weights"), [
    ("ulx3s_25f", "streamed"), ("sdram_25f", "external"), ("tang_mega", "resident"),
])  # fmt: skip
def test_a_model_of_stories260k_s_shape_fits(name: str, weights: str) -> None:
    image = compile_model(random_model(STORIES_260K, SEED), configuration(name), weights=weights)
    assert image.model["context"] == STORIES_260K.context
