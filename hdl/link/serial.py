"""Serial link: the frame protocol of isa/frames.py over the two pins of a UART."""

from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hdl.link.device_side import device_side
from hdl.link.frame_link import FrameLink
from hdl.link.uart import UartReceiver, UartTransmitter
from isa.frames import Hello

GLOW_SECONDS = 0.05  # at least, that the activity light stays on after a frame; at most twice that


class SerialLink(Component):
    """Words to and from the device behind it, each once and in order, over `rx` and `tx`.

    8 data bits, no parity, 1 stop bit; the clock at least 8 times the baud rate. `reset_device` is
    set when the host opens a session: it resets the device, never this link. `activity`: bit 0, a
    session is open; bit 1, frames of it arrive. The rest is as in FrameLink.

    Raises:
        ValueError: a clock too slow for the baud rate, a buffer of a size that cannot be.
    """

    def __init__(self, clock_hz: int, baud: int, hello: Hello, *, receive_words: int = 512,
                 transmit_words: int = 512, block: bool = True) -> None:  # fmt: skip
        self.clock_hz = clock_hz
        self._receiver = UartReceiver(clock_hz, baud)
        self._transmitter = UartTransmitter(clock_hz, baud)
        self._frames = FrameLink(clock_hz, hello, receive_words, transmit_words, block)
        super().__init__(
            {
                "rx": In(1, init=1),
                "tx": Out(1, init=1),
                **device_side(),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver = receiver = self._receiver
        m.submodules.transmitter = transmitter = self._transmitter
        m.submodules.frames = frames = self._frames
        connect(m, receiver.bytes, frames.bytes_in)
        connect(m, frames.bytes_out, transmitter.bytes)
        connect(m, frames.words_to_device, flipped(self.words_to_device))
        connect(m, flipped(self.words_from_device), frames.words_from_device)
        # Counts down while its top bit is set, so that this bit alone says whether the light is on.
        half = (round(self.clock_hz * GLOW_SECONDS) - 1).bit_length()
        heard, glow = Signal(reset_less=True), Signal(half + 1, reset_less=True)
        m.d.sync += heard.eq(frames.heard)
        with m.If(heard):
            m.d.sync += glow.eq((1 << len(glow)) - 1)
        with m.Elif(glow[-1]):
            m.d.sync += glow.eq(glow - 1)
        m.d.comb += [
            receiver.rx.eq(self.rx),
            self.tx.eq(transmitter.tx),
            self.reset_device.eq(frames.reset_device),
            self.activity[0].eq(frames.open),
            self.activity[1].eq(glow[-1]),
        ]
        return m
