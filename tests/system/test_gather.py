"""Busy lanes over cycles while a matrix gathers that is large enough for all lanes."""

from host.measure.gather import measure
from host.transport.simulated import SimulatedTransport
from isa.configurations import configuration
from tests.golden.models import SEED


def test_lanes_are_busy() -> None:
    """512 neurons x 10 tiles on 4 cores x 64 lanes: at least 85 % of the lanes work."""
    print(f"seed {SEED}")
    c = configuration("ulx3s")
    with SimulatedTransport(c) as transport:
        busy = measure(transport, c, 512, 640, SEED)
    print(busy)
    assert busy.share >= 0.85, busy
