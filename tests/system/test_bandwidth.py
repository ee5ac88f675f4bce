"""Decoding with weights in SDRAM is bound by the memory, and the memory is well used."""

import pytest

from host.measure.bandwidth import measure, random_model
from isa.configurations import configuration
from sim.memory import SimulatedMemory
from tests.golden.models import SEED


@pytest.mark.extra  # a minute of building a large simulator
def test_weights_take_the_memorys_bandwidth() -> None:
    """At least 85 % of two bytes a cycle are weights, with the chip's timing at 80 MHz."""
    print(f"seed {SEED}")
    q = random_model(256, 512, 2, 256, SEED)
    found = measure(q, configuration("ulx3s_sdram"), 3, SimulatedMemory())
    print(found, f"share {found.share:.2%}, read {found.used:.2%}")
    assert found.share >= 0.85, found
    assert found.used <= 1.0, found
