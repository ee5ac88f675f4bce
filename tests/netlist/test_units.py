"""The benches of neuron core, router and synapse core, on their gates after synth_ecp5."""

import pytest

from hdl.units.fire.neuron import NeuronCore
from hdl.units.fire.router import Router
from sim.netlist import to_netlist
from tests.cocotb_support import run_cocotb
from tests.units.devices import device
from tests.units.test_synapse import SynapseHarness

pytestmark = pytest.mark.extra  # synthesis and simulation of gates take a minute

UNITS = {
    "neuron": lambda shape: NeuronCore(device(shape)),
    "router": lambda shape: Router(device(shape)),
    "synapse": SynapseHarness,
}
SHAPES = [
    "tiny",
    pytest.param("wide", marks=pytest.mark.slow),
    pytest.param("lone", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("unit", UNITS)
def test_unit_after_synthesis(unit, shape):
    run_cocotb(UNITS[unit](shape), f"tests.units.bench_{unit}", f"{unit}_{shape}",
               {"name": shape}, target="netlist")  # fmt: skip


def test_the_cells_that_are_meant_are_there():
    """Rows in block RAM, a queue in look-up tables' RAM: their models are run."""
    assert to_netlist(UNITS["synapse"]("tiny"), "synapse_tiny").cells["DP16KD"] > 0
    assert to_netlist(UNITS["router"]("tiny"), "router_tiny").cells["TRELLIS_DPR16X4"] > 0


def test_one_wrong_bit_in_one_table_is_found():
    """A spike's sign, wrong while its lane is the first and another one is positive."""
    good = to_netlist(UNITS["router"]("tiny"), "router_tiny")
    bad = good.flip_lut("events__0__payload.negative_TRELLIS_FF_Q_DI", 4)
    assert bad.verilog != good.verilog
    with pytest.raises(AssertionError, match="nothing_lost: core 0"):
        run_cocotb(bad, "tests.units.bench_router", "router_tiny", {"name": "tiny"},
                   testcase="nothing_lost")  # fmt: skip
