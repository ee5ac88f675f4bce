"""The whole design of a board: pins, clock and reset around the core."""

from amaranth.hdl import ClockDomain, ClockSignal, Elaboratable, Module, Signal
from amaranth.hdl._ir import PortDirection
from amaranth.lib import io
from amaranth.lib.cdc import ResetSynchronizer
from amaranth.lib.wiring import Component

from hdl.boards import pll
from hdl.boards.board import Board
from hdl.boards.core import LEDS, BoardCore
from hdl.emit import convert
from isa.configurations import Configuration, configuration
from isa.contents import EMPTY, Contents

SIMULATED_TOP = "spikelet_board"


class BoardTop(Elaboratable):
    """The core of a board on the pins of an Amaranth platform.

    With `platform` None the pins are plain signals (`pins`), and there is no PLL: the clock pin
    runs at the core's frequency, `core_hz`, and every register begins with its initial value.
    """

    def __init__(self, board: Board, c: Configuration | None = None,
                 contents: Contents = EMPTY, core_hz: int | None = None,
                 baud: int | None = None) -> None:
        self.board = board
        self.configuration = c or configuration(board.configuration)
        self.baud = baud or board.baud
        self.pll, self.core_hz = pll.core_clock(board, core_hz)
        self.contents = contents
        name = "_".join(map(str, board.uart)) if board.uart[1] else board.uart[0]
        self.clock, self.rx, self.tx = (
            Signal(name=n) for n in (board.clock, f"{name}_rx", f"{name}_tx"))
        self.leds = Signal(board.leds, name="led")

    @property
    def pins(self) -> dict[str, tuple]:
        """Port name -> (signal, direction) of a top without a platform."""
        return {
            self.clock.name: (self.clock, PortDirection.Input),
            self.rx.name: (self.rx, PortDirection.Input),
            self.tx.name: (self.tx, PortDirection.Output),
            **({"led": (self.leds, PortDirection.Output)} if self.board.leds else {}),
        }

    def core(self) -> Component:
        """What is behind the pins."""
        return BoardCore(self.configuration, self.core_hz, self.baud, self.contents)

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = ClockDomain()
        m.submodules.core = core = self.core()
        m.d.comb += [core.rx.eq(self.rx), self.tx.eq(core.tx), self.leds.eq(core.leds)]
        if platform is None:
            m.d.comb += ClockSignal().eq(self.clock)
        else:
            self._pins(m, platform)
            self._clock(m, platform)
        return m

    def _pins(self, m: Module, platform) -> None:
        board = self.board
        lines = {line.name: "-" for line in platform.lookup(*board.uart).ios}
        uart = platform.request(*board.uart, dir=lines)
        m.submodules.clock_buffer = clock = io.Buffer("i", platform.request(board.clock, dir="-"))
        m.submodules.rx_buffer = rx = io.Buffer("i", uart.rx)
        m.submodules.tx_buffer = tx = io.Buffer("o", uart.tx)
        m.d.comb += [self.clock.eq(clock.i), self.rx.eq(rx.i), tx.o.eq(self.tx)]
        for n in range(min(board.leds, LEDS)):
            led = io.Buffer("o", platform.request("led", n, dir="-"))
            m.submodules[f"led_buffer_{n}"] = led
            m.d.comb += led.o.eq(self.leds[n])

    def _clock(self, m: Module, platform) -> None:
        locked = Signal()
        if self.pll is None:
            m.d.comb += [ClockSignal().eq(self.clock), locked.eq(1)]
        else:
            clock = Signal(name="core_clock")
            m.submodules.pll = pll.CELLS[self.board.family](self.pll, self.clock, clock, locked)
            platform.add_clock_constraint(clock, self.core_hz)
            m.d.comb += ClockSignal().eq(clock)
        m.submodules.reset = ResetSynchronizer(~locked)


def board_verilog(top: BoardTop) -> str:
    """Verilog of a board with its pins and without its PLL, for simulation; the top module is
    `spikelet_board`, its ports are `BoardTop.pins`."""
    return convert(top, SIMULATED_TOP, top.pins)
