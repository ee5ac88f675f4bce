"""Exact cycles of VectorUnit, counted by the stages that the unit exports."""

import cocotb
import pytest

from golden.units.functions import default_tables
from hdl.units.vector.stages import cycles_to_done
from hdl.units.vector.vector import VectorUnit
from isa.configurations import configuration
from tests.cocotb_support import parameters, run_cocotb
from tests.units.test_vector import run_programs

PROGRAMS = 20  # or more, until every operation was among them


@cocotb.test()
async def cycles_at_full_speed(dut):
    c = configuration(parameters()["configuration"])
    bench = await run_programs(dut, default_tables(), 0.0, 0.0, PROGRAMS)
    for operation, words, cycles in bench.durations:
        expected = cycles_to_done(c, operation, words)
        assert cycles == expected, f"{operation.name} of {words} words: {cycles}, not {expected}"


@cocotb.test()
async def stalls_only_add_cycles(dut):
    c = configuration(parameters()["configuration"])
    bench = await run_programs(dut, default_tables(), 0.3, 0.5, PROGRAMS)
    for operation, words, cycles in bench.durations:
        least = cycles_to_done(c, operation, words)
        assert cycles >= least, f"{operation.name} of {words} words: {cycles}, less than {least}"


@pytest.mark.cycles
@pytest.mark.parametrize("name", ["tiny", "minimal", "ulx3s"])
def test_vector_cycles(name):
    run_cocotb(
        VectorUnit(configuration(name)), __name__, f"vector_{name}", {"configuration": name}
    )
