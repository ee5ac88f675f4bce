"""What is behind a board's pins, whatever the board: the serial link and the device."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hdl.device import Device
from hdl.lib.ecp5 import global_net
from hdl.lib.reset import with_own_reset
from hdl.link.serial import SerialLink
from hdl.memory.sdram import sdram_signature
from hdl.memory.sdram_timing import SDRAM_32MB
from hdl.sdram_device import SdramDevice
from isa.configurations import Configuration
from isa.contents import EMPTY, Contents
from isa.frames import Hello

LEDS = 8
HEARTBEAT_SECONDS = 0.5  # on, and as long off


class BoardCore(Component):
    """A device of `configuration` behind a UART of `baud`, in one clock domain of `clock_hz`.

    rx, tx: UART pins, idle high. leds: 0 heartbeat, 1 a session is open, 2 the host talks.
    `contents`: what the memories hold at power-on. sdram: the chip's signals before the registers
    at its pins, where the configuration has external memory.
    """

    def __init__(self, configuration: Configuration, clock_hz: int, baud: int,
                 contents: Contents = EMPTY) -> None:
        self.configuration, self.clock_hz, self.baud = configuration, clock_hz, baud
        self.contents = contents
        ports = {"rx": In(1, init=1), "tx": Out(1, init=1), "leds": Out(LEDS)}
        if configuration.external_words:
            ports["sdram"] = Out(sdram_signature(SDRAM_32MB))
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        hello = Hello(self.configuration.identity, image=self.contents.identity)
        link = SerialLink(self.clock_hz, self.baud, hello, **_buffers(self.configuration))
        # The reset comes from the corner of the pins: a register takes it to the link.
        link_reset = Signal(init=1)
        m.d.sync += link_reset.eq(0)
        m.submodules.link = with_own_reset(m, link, link_reset, "link")
        device = Device(self.configuration, self.contents)
        if self.configuration.external_words:
            device = SdramDevice(self.configuration, SDRAM_32MB, self.clock_hz, device)
            connect(m, device.sdram, flipped(self.sdram))
            m.d.comb += device.reset_device.eq(link.reset_device)
            m.submodules.device = device
        else:
            reset = global_net(m, platform, link.reset_device)
            m.submodules.device = with_own_reset(m, device, reset)
        m.d.comb += [
            link.rx.eq(self.rx),
            self.tx.eq(link.tx),
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


def _buffers(c: Configuration) -> dict:
    """Sizes of the link's buffers, in words, and where they lie: in block RAM, unless the rows of
    the configuration leave none."""
    if c.spare_blocks:
        return {"receive_words": 512, "transmit_words": 512, "block": True}
    return {"receive_words": 256, "transmit_words": 256, "block": False}
