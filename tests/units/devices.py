"""Configurations that the unit tests run: `tiny`, and shapes that no named configuration has."""

from dataclasses import replace

from isa.configurations import Configuration, configuration

_TINY = configuration("tiny")
DEVICES = {
    "tiny": _TINY,
    "wide": replace(
        _TINY, name="wide", cores=4, lanes=8, vector_lanes=4, neuron_lanes=16, row_depth=640
    ),
    "lone": replace(_TINY, name="lone", cores=1, lanes=4, vector_lanes=4, row_depth=512),
    "pair": replace(_TINY, name="pair", cores=1, lanes=8, vector_lanes=2, neuron_lanes=2),
}


def device(name: str) -> Configuration:
    """The test configuration of that name."""
    return DEVICES[name]
