"""Neuron core against golden.units.neuron.fire, for the shipped schedules and random ones."""

import pytest

from hdl.units.fire.neuron import NeuronCore
from tests.cocotb_support import run_cocotb
from tests.units.devices import DEVICES, device


@pytest.mark.parametrize("name", DEVICES)
def test_neuron(name):
    run_cocotb(NeuronCore(device(name)), "tests.units.bench_neuron", f"neuron_{name}",
               {"name": name})  # fmt: skip
