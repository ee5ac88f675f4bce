"""A device with its external memory: what a board with a memory chip has in place of a Device."""

from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import Component, In

from hdl.device import Device
from hdl.lib.copies import copy_of
from hdl.lib.ecp5 import global_net
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
        # The controller lies at the chip's pins: its own copy of what resets the device.
        flush = copy_of(m, self.reset_device, "flush")
        m.d.comb += controller.flush.eq(flush)
        memory, port = device.external, controller.memory
        request = _held(m, memory.request, port.request, flush)
        word = _held(m, memory.write, port.write, flush)
        m.d.comb += [
            port.request.payload.address.eq(request.address),
            port.request.payload.length.eq(request.length),
            port.request.payload.write.eq(request.write),
            port.write.payload.eq(word),
            memory.read.payload.eq(port.read.payload),
            memory.read.valid.eq(port.read.valid),
            port.read.ready.eq(memory.read.ready),
        ]
        return m


def _held(m: Module, source, sink, flush):
    """The payload of `source` for `sink`, which gets it from a register, every other cycle at most:
    the controller lies at the chip's pins, the device elsewhere."""
    held, waits = Signal.like(source.payload), Signal()
    m.d.comb += [sink.valid.eq(waits), source.ready.eq(~waits)]
    with m.If(~waits):
        m.d.sync += [held.eq(source.payload), waits.eq(source.valid)]
    with m.Elif(sink.ready):
        m.d.sync += waits.eq(0)
    with m.If(flush):
        m.d.sync += waits.eq(0)
    return held
