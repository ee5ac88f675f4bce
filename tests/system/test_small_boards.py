"""The configurations of small boards: RTL = golden device, every vector, streamed weights."""

import pytest

from tests.golden.models import SEED, TINY
from tests.system.pairs import Pair, random_model
from tests.system.test_device import prompt


@pytest.mark.parametrize("name", ["minimal", "ulx3s_25f"])
def test_every_vector(name: str) -> None:
    with Pair(random_model(TINY, SEED), name, "streamed") as pair:
        pair.simulated.device.stalls(0.3, 0.3, SEED)
        pair.generate(prompt(TINY, 5), 6)
        pair.logits(prompt(TINY, 3))
