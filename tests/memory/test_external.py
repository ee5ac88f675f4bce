"""The reader of external memory against a model of what it must play."""

import pytest

from hdl.memory.external_reader import ExternalReader
from isa.configurations import configuration
from tests.cocotb_support import run_cocotb


@pytest.mark.parametrize("stall", [0.0, 0.3, 0.8])
def test_positions_are_played(stall: float) -> None:
    run_cocotb(ExternalReader(configuration("tiny_sdram")), "tests.memory.bench_external",
               "external_memory", {"stall": stall})  # fmt: skip
