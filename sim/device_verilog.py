"""Verilog of a device for the simulator, with its memory's port or pins as plain wires."""

from collections.abc import Collection

from amaranth.hdl import Module
from amaranth.lib.wiring import Component, In, Out, connect

from hdl.device import Device
from hdl.lib.ports import pass_ports
from hdl.memory.external_port import address_bits
from hdl.memory.sdram import SdramController
from hdl.memory.sdram_pins import OUTPUTS, PinRegisters
from hdl.memory.sdram_timing import SdramTiming
from hdl.memory_device import MemoryDevice
from isa.configurations import Configuration
from isa.contents import EMPTY, Contents
from sim.build import TOP
from sim.memory import SimulatedMemory
from sim.verilog import to_verilog


class _Wrapped(Component):
    """A device whose memory is outside the simulated logic: its port or its pins as plain wires.

    `inner`: ports of the device that become the plain wires `ports`; `wire` joins them.
    """

    def __init__(self, device: Component, inner: Collection[str], ports: dict) -> None:
        self.device = device
        self.passed = {n: p for n, p in device.signature.members.items() if n not in inner}
        super().__init__(self.passed | ports)

    def elaborate(self, platform):
        m = Module()
        m.submodules.device = self.device
        pass_ports(m, self.device, self, self.passed)
        self.wire(m)
        return m


class _WithPort(_Wrapped):
    """A device and the port of its external memory."""

    def __init__(self, c: Configuration, contents: Contents) -> None:
        bits = address_bits(c)
        super().__init__(Device(c, contents), ["external"], {
            "memory_address": Out(bits), "memory_length": Out(bits), "memory_write": Out(1),
            "memory_request_valid": Out(1), "memory_request_ready": In(1),
            "memory_write_payload": Out(32), "memory_write_valid": Out(1),
            "memory_write_ready": In(1), "memory_read_payload": In(32),
            "memory_read_valid": In(1), "memory_read_ready": Out(1),
        })  # fmt: skip

    def wire(self, m: Module) -> None:
        port = self.device.external
        m.d.comb += [
            self.memory_address.eq(port.request.payload.address),
            self.memory_length.eq(port.request.payload.length),
            self.memory_write.eq(port.request.payload.write),
            self.memory_request_valid.eq(port.request.valid),
            port.request.ready.eq(self.memory_request_ready),
            self.memory_write_payload.eq(port.write.payload),
            self.memory_write_valid.eq(port.write.valid),
            port.write.ready.eq(self.memory_write_ready),
            port.read.payload.eq(self.memory_read_payload),
            port.read.valid.eq(self.memory_read_valid),
            self.memory_read_ready.eq(port.read.ready),
        ]


class _WithPins(_Wrapped):
    """A device with its SDRAM controller, and the chip's pins behind their registers."""

    def __init__(self, c: Configuration, timing: SdramTiming, clock_hz: float) -> None:
        device = MemoryDevice(Device(c), SdramController(timing, clock_hz))
        self.timing, signals = timing, device.sdram.signature.members
        ports = {f"sdram_{name}": signals[name] for name in OUTPUTS}
        super().__init__(device, device.pins, ports | {"sdram_data_in": In(timing.data_bits)})

    def wire(self, m: Module) -> None:
        m.submodules.registers = registers = PinRegisters(self.timing)
        connect(m, self.device.sdram, registers.controller)
        m.d.comb += registers.chip.data_in.eq(self.sdram_data_in)
        for name in OUTPUTS:
            m.d.comb += getattr(self, f"sdram_{name}").eq(getattr(registers.chip, name))


def device_verilog(c: Configuration, contents: Contents = EMPTY,
                   memory: SimulatedMemory | None = None) -> str:
    """The device as one Verilog text; its top module is `spikelet_device`.

    `contents` lie in its memories at power-on. `memory` says what stands for external memory
    where the configuration has it.
    """
    if not c.external_words:
        return to_verilog(Device(c, contents), TOP)
    if memory is None or memory.chip is None:
        return to_verilog(_WithPort(c, contents), TOP)
    return to_verilog(_WithPins(c, memory.chip, memory.clock_hz), TOP)
