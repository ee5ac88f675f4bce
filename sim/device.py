"""Verilog of a whole device for the simulator."""

from hdl.device import Device
from isa.configurations import Configuration
from isa.contents import EMPTY, Contents
from sim.build import TOP
from sim.verilog import to_verilog


def device_verilog(c: Configuration, contents: Contents = EMPTY) -> str:
    """The device as one Verilog text; its top module is `spikelet_device`."""
    return to_verilog(Device(c, contents), TOP)
