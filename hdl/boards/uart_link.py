"""The link to the host over a UART resource of the board."""

from collections.abc import Mapping
from dataclasses import dataclass

from amaranth.hdl import Module, Signal
from amaranth.lib import io
from amaranth.lib.wiring import Component, In, Member, Out

from hdl.link.serial import SerialLink
from isa.configurations import Configuration
from isa.contents import Contents
from isa.frames import Hello

BITS_A_WORD = 40  # on the line: four bytes of ten bits
FRAME_SHARE = 0.9  # of the line's bits carry words, the others frames around them


@dataclass(frozen=True)
class UartLink:
    """A UART of `baud` bits a second, the platform's resource `uart` by name and number.

    The device's clock must be at least OVERSAMPLING (hdl.link.uart) times the baud rate.
    """

    baud: int
    uart: tuple[str, int] = ("uart", 0)

    def __str__(self) -> str:
        return f"{self.baud:,} baud"

    @property
    def words_a_second(self) -> float:
        return self.baud * FRAME_SHARE / BITS_A_WORD

    @property
    def rx(self) -> str:
        """The pin of a top without a platform on which bytes come from the host."""
        return f"{self._name}_rx"

    @property
    def tx(self) -> str:
        """The pin of a top without a platform on which bytes go to the host."""
        return f"{self._name}_tx"

    @property
    def _name(self) -> str:
        name, number = self.uart
        return f"{name}_{number}" if number else name

    @property
    def ports(self) -> Mapping[str, Member]:
        return {self.rx: In(1), self.tx: Out(1)}

    def component(self, c: Configuration, clock_hz: int, contents: Contents) -> SerialLink:
        """The serial link, which names the configuration and the image to the host.

        Its buffers are in block RAM, unless the rows of the configuration leave none.
        """
        hello = Hello(c.identity, image=contents.identity)
        words = 512 if c.spare_blocks else 256
        return SerialLink(clock_hz, self.baud, hello, receive_words=words, transmit_words=words,
                          block=c.spare_blocks)

    def attach(self, m: Module, platform: object, core: Component,
               signals: Mapping[str, Signal]) -> None:
        rx, tx = signals[self.rx], signals[self.tx]
        m.d.comb += [core.rx.eq(rx), tx.eq(core.tx)]
        if platform is None:
            return
        lines = {line.name: "-" for line in platform.lookup(*self.uart).ios}
        pins = platform.request(*self.uart, dir=lines)
        m.submodules.rx_buffer = rx_buffer = io.Buffer("i", pins.rx)
        m.submodules.tx_buffer = tx_buffer = io.Buffer("o", pins.tx)
        m.d.comb += [rx.eq(rx_buffer.i), tx_buffer.o.eq(tx)]
