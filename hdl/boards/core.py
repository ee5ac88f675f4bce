"""What is behind a board's pins, whatever the board: the device, its link and its memory."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib.wiring import Component, Out

from hdl.device import Device
from hdl.lib.ecp5 import global_net
from hdl.lib.ports import pass_ports
from hdl.lib.reset import with_own_reset
from hdl.link.device_side import device_side
from hdl.memory_device import MemoryDevice
from isa.configurations import Configuration
from isa.contents import EMPTY, Contents

LEDS = 8
HEARTBEAT_SECONDS = 0.5  # on, and as long off


class BoardCore(Component):
    """A device of configuration `c` behind a link to its host, in one clock domain of `clock_hz`.

    link, controller: as hdl.boards.board.HostLink and ExternalMemory make them; their pins, as the
    registers or buffers at the pins expect them, are ports of this component by the same names.
    controller: None where the configuration has no external memory. contents: what the memories
    hold at power-on. leds: 0 heartbeat, 1 a session is open, 2 the host talks.
    """

    def __init__(self, c: Configuration, clock_hz: int, link: Component,
                 controller: Component | None = None, contents: Contents = EMPTY) -> None:
        self.clock_hz, self.link = clock_hz, link
        self.device = device = Device(c, contents)
        self._link_pins = [name for name in link.signature.members if name not in device_side()]
        ports = {name: link.signature.members[name] for name in self._link_pins}
        if controller is not None:
            self.device = MemoryDevice(device, controller)
            ports |= {name: controller.signature.members[name] for name in self.device.pins}
        super().__init__({**ports, "leds": Out(LEDS)})

    def elaborate(self, platform):
        m = Module()
        link, device = self.link, self.device
        # The reset comes from the corner of the pins: a register takes it to the link.
        link_reset = Signal(init=1)
        m.d.sync += link_reset.eq(0)
        m.submodules.link = with_own_reset(m, link, link_reset, "link")
        pass_ports(m, link, self, self._link_pins)
        if isinstance(device, MemoryDevice):
            m.submodules.device = device
            m.d.comb += device.reset_device.eq(link.reset_device)
            pass_ports(m, device, self, device.pins)
        else:
            reset = global_net(m, platform, link.reset_device)
            m.submodules.device = with_own_reset(m, device, reset)
        m.d.comb += [
            device.link_in_payload.eq(link.words_to_device.payload),
            device.link_in_valid.eq(link.words_to_device.valid),
            link.words_to_device.ready.eq(device.link_in_ready),
            link.words_from_device.payload.eq(device.link_out_payload),
            link.words_from_device.valid.eq(device.link_out_valid),
            device.link_out_ready.eq(link.words_from_device.ready),
        ]
        half = round(self.clock_hz * HEARTBEAT_SECONDS)
        count, beat = Signal(range(half)), Signal()
        m.d.sync += count.eq(count + 1)
        with m.If(count == half - 1):
            m.d.sync += [count.eq(0), beat.eq(~beat)]
        m.d.comb += self.leds.eq(Cat(beat, link.activity))
        return m
