"""A device with SDRAM: what a board with such a chip has in the place of a Device."""

from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hdl.device import Device
from hdl.lib.copies import copy_of
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
        # The controller lies at the chip's pins: its own copy of what resets the device.
        flush = copy_of(m, self.reset_device, "flush")
        m.d.comb += controller.flush.eq(flush)
        for name, member in device.signature.members.items():
            if name == "external":
                continue
            inside, outside = getattr(device, name), getattr(self, name)
            m.d.comb += inside.eq(outside) if member.flow is In else outside.eq(inside)
        # An address of the device is one of the chip's first words.
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
