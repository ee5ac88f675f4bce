"""A device with SDRAM: what a board with such a chip has in the place of a Device."""

from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hdl.device import Device
from hdl.lib.ecp5 import global_net
from hdl.lib.reset import with_own_reset
from hdl.memory.sdram import SdramController, sdram_signature
from hdl.memory.sdram_timing import SdramTiming
from isa.configurations import Configuration


class SdramDevice(Component):
    """A Device of configuration `c` and the controller of its SDRAM, in one clock domain.

    sdram: to hdl.memory.sdram_pins. reset_device: resets the device, while the controller goes on
    refreshing; it drops what was under way. The other ports are those of hdl.device.Device.
    `device` is the Device (a board may give it initial contents).

    Raises:
        ValueError: a configuration whose external memory is larger than the chip.
    """

    def __init__(
        self, c: Configuration, timing: SdramTiming, clock_hz: float, device: Device | None = None
    ) -> None:
        if not 0 < c.external_words <= timing.words:
            raise ValueError(f"{c.name} has {c.external_words} words of external memory, the chip "
                             f"{timing.words}")
        self.device = device or Device(c)
        self.timing, self.clock_hz = timing, clock_hz
        members = dict(self.device.signature.members)
        del members["external"]
        super().__init__(
            {**members, "reset_device": In(1), "sdram": Out(sdram_signature(timing))}
        )

    def elaborate(self, platform):
        m = Module()
        device = self.device
        reset = Signal(init=1)
        m.d.sync += reset.eq(self.reset_device)
        m.submodules.controller = controller = SdramController(self.timing, self.clock_hz)
        m.submodules.device = with_own_reset(m, device, global_net(m, platform, reset))
        connect(m, controller.sdram, flipped(self.sdram))
        m.d.comb += controller.flush.eq(self.reset_device)
        for name, member in device.signature.members.items():
            if name == "external":
                continue
            inside, outside = getattr(device, name), getattr(self, name)
            m.d.comb += inside.eq(outside) if member.flow is In else outside.eq(inside)
        # A request waits in a register between the device and the controller, which lies near the
        # chip's pins. An address of the device is one of the chip's first words.
        memory, port = device.external, controller.memory
        waits = Signal()
        with m.If(memory.request.valid & memory.request.ready):
            m.d.sync += [
                waits.eq(1),
                port.request.payload.address.eq(memory.request.payload.address),
                port.request.payload.length.eq(memory.request.payload.length),
                port.request.payload.write.eq(memory.request.payload.write),
            ]
        with m.Elif(port.request.ready):
            m.d.sync += waits.eq(0)
        with m.If(self.reset_device):
            m.d.sync += waits.eq(0)
        m.d.comb += [
            port.request.valid.eq(waits),
            memory.request.ready.eq(~waits),
            port.write.payload.eq(memory.write.payload),
            port.write.valid.eq(memory.write.valid),
            memory.write.ready.eq(port.write.ready),
            memory.read.payload.eq(port.read.payload),
            memory.read.valid.eq(port.read.valid),
            port.read.ready.eq(memory.read.ready),
        ]
        return m
