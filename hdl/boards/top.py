"""The whole design of a board: pins, clock and reset around the core."""

from amaranth.hdl import ClockDomain, ClockSignal, Elaboratable, Module, Signal
from amaranth.hdl._ir import PortDirection
from amaranth.lib import io
from amaranth.lib.cdc import ResetSynchronizer
from amaranth.lib.wiring import Component, In

from hdl.boards import pll
from hdl.boards.board import Board
from hdl.boards.core import LEDS, BoardCore
from hdl.emit import convert
from isa.configurations import Configuration, configuration
from isa.contents import EMPTY, Contents

SIMULATED_TOP = "spikelet_board"


class BoardTop(Elaboratable):
    """The core of a board, with the board's link and memory, on the pins of an Amaranth platform.

    With `platform` None the pins are plain signals (`pins`), and there is no PLL: the clock pin
    runs at the core's frequency, `core_hz`, and every register begins with its initial value.

    Raises:
        SpikeletError: a clock that cannot be made; a configuration whose external memory the board
            does not have.
    """

    def __init__(self, board: Board, c: Configuration | None = None,
                 contents: Contents = EMPTY, core_hz: int | None = None) -> None:
        self.board = board
        self.configuration = c or configuration(board.configuration)
        self.contents = contents
        self.memory = board.memory_of(self.configuration)
        self.pll, self.core_hz = pll.core_clock(board, core_hz)
        self.clock = Signal(name=board.clock)
        self.leds = Signal(board.leds, name="led")
        self._attached = [board.link] + ([self.memory] if self.memory else [])
        self._members = {n: member for part in self._attached for n, member in part.ports.items()}
        self._signals = {n: Signal(member.shape, name=n) for n, member in self._members.items()}

    @property
    def pins(self) -> dict[str, tuple]:
        """Port name -> (signal, direction) of a top without a platform."""
        directions = {name: PortDirection.Input if member.flow is In else PortDirection.Output
                      for name, member in self._members.items()}  # fmt: skip
        return {
            self.clock.name: (self.clock, PortDirection.Input),
            **{name: (signal, directions[name]) for name, signal in self._signals.items()},
            **({"led": (self.leds, PortDirection.Output)} if self.board.leds else {}),
        }

    def core(self) -> Component:
        """What is behind the pins."""
        link = self.board.link.component(self.configuration, self.core_hz, self.contents)
        controller = self.memory.component(self.core_hz) if self.memory else None
        return BoardCore(self.configuration, self.core_hz, link, controller, self.contents)

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = ClockDomain()
        m.submodules.core = core = self.core()
        m.d.comb += self.leds.eq(core.leds)
        if platform is None:
            m.d.comb += ClockSignal().eq(self.clock)
        else:
            clock = io.Buffer("i", platform.request(self.board.clock, dir="-"))
            m.submodules.clock_buffer = clock
            m.d.comb += self.clock.eq(clock.i)
        for part in self._attached:
            part.attach(m, platform, core, self._signals)
        if platform is not None:
            self._leds(m, platform)
            self._clock(m, platform)
        return m

    def _leds(self, m: Module, platform) -> None:
        for n in range(min(self.board.leds, LEDS)):
            led = io.Buffer("o", platform.request("led", n, dir="-"))
            m.submodules[f"led_buffer_{n}"] = led
            m.d.comb += led.o.eq(self.leds[n])

    def _clock(self, m: Module, platform) -> None:
        """The PLL, or the oscillator itself, as the clock of the core and of its memory's pins."""
        locked = Signal()
        late = {}
        if self.memory is not None and self.memory.late_domain is not None:
            m.domains += ClockDomain(self.memory.late_domain, reset_less=True)
            late["late_out"] = ClockSignal(self.memory.late_domain)
        if self.pll is None:
            m.d.comb += [ClockSignal().eq(self.clock), locked.eq(1)]
            m.d.comb += [clock.eq(~self.clock) for clock in late.values()]
        else:
            clock = Signal(name="core_clock")
            cell = pll.CELLS[self.board.family]
            m.submodules.pll = cell(self.pll, self.clock, clock, locked, **late)
            platform.add_clock_constraint(clock, self.core_hz)
            m.d.comb += ClockSignal().eq(clock)
        m.submodules.reset = ResetSynchronizer(~locked)


def board_verilog(top: BoardTop) -> str:
    """Verilog of a board with its pins and without its PLL, for simulation; the top module is
    `spikelet_board`, its ports are `BoardTop.pins`."""
    return convert(top, SIMULATED_TOP, top.pins)
