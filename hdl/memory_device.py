"""A device with its external memory: what a board with a memory chip has in place of a Device."""

from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import Component, In, connect

from hdl.device import Device
from hdl.lib.copies import copy_of
from hdl.lib.ecp5 import global_net
from hdl.lib.half_rate import HalfRateRegister
from hdl.lib.ports import pass_ports
from hdl.lib.reset import with_own_reset


class MemoryDevice(Component):
    """A Device and the controller of its memory chip, in one clock domain.

    `controller` takes bursts on its port `memory` (hdl.memory.external_port.memory_port) and drops
    all that is under way in a cycle of `flush`; its other ports, the chip's pins, become ports of
    this component, beside those of hdl.device.Device. `reset_device` resets the device, while the
    controller goes on refreshing. The device uses the first words of the chip.

    Raises:
        ValueError: a device whose external memory is larger than the chip.
    """

    def __init__(self, device: Device, controller: Component) -> None:
        words = 1 << len(controller.memory.request.payload.address)
        if not 0 < device.c.external_words <= words:
            raise ValueError(f"{device.c.name} has {device.c.external_words} words of external "
                             f"memory, the chip {words}")
        self.device, self.controller = device, controller
        self._passed = [name for name in device.signature.members if name != "external"]
        self.pins = [name for name in controller.signature.members
                     if name not in ("memory", "flush")]  # fmt: skip
        """Names of the chip's ports."""
        super().__init__(
            {
                **{name: device.signature.members[name] for name in self._passed},
                **{name: controller.signature.members[name] for name in self.pins},
                "reset_device": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        device, controller = self.device, self.controller
        reset = Signal(init=1)
        m.d.sync += reset.eq(self.reset_device)
        m.submodules.controller = controller
        m.submodules.device = with_own_reset(m, device, global_net(m, platform, reset))
        pass_ports(m, controller, self, self.pins)
        pass_ports(m, device, self, self._passed)
        # The controller lies at the chip's pins, far from the device: it has a copy of its own of
        # what resets the device.
        flush = copy_of(m, self.reset_device, "flush")
        m.d.comb += controller.flush.eq(flush)
        # The controller lies at the chip's pins, the device elsewhere: a register between them. An
        # address of the device is one of the chip's first words.
        memory, port = device.external, controller.memory
        m.submodules.request = request = HalfRateRegister(memory.request.payload.shape())
        m.submodules.word = word = HalfRateRegister(32)
        connect(m, memory.request, request.i)
        connect(m, memory.write, word.i)
        connect(m, word.o, port.write)
        connect(m, port.read, memory.read)
        m.d.comb += [
            request.clear.eq(flush),
            word.clear.eq(flush),
            port.request.valid.eq(request.o.valid),
            request.o.ready.eq(port.request.ready),
            *(port.request.payload[name].eq(request.o.payload[name])
              for name in ("address", "length", "write")),
        ]  # fmt: skip
        return m
