"""Builds a board's simulator: the Verilog of its top, with the harness of its pins."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import sim
from hdl.boards.board import Board
from hdl.boards.sdram_memory import SdramMemory
from hdl.boards.top import SIMULATED_TOP, BoardTop, board_verilog
from hdl.boards.uart_link import UartLink
from isa.configurations import Configuration, configuration
from isa.contents import EMPTY, Contents
from isa.errors import SpikeletError
from sim.build import Harness, build_simulator
from sim.compiler import Progress
from sim.memory import SimulatedMemory

HARNESS = Harness("board", SIMULATED_TOP, Path(__file__).with_name("harness.cc"),
                  (Path(sim.__file__).with_name("sdram.h"),))


@dataclass(frozen=True)
class Pins:
    """Names of the top's ports that the harness drives; `leds` None where the board has none."""

    clock: str = "clk"
    rx: str = "rx"
    tx: str = "tx"
    leds: str | None = "leds"

    @property
    def defines(self) -> tuple[str, ...]:
        named = ((name, port) for name, port in vars(self).items() if port is not None)
        return tuple(f"-DPIN_{name.upper()}={port}" for name, port in named)


def build_simulation(
    source: str | Callable[[], str],
    pins: Pins,
    identity: str | None = None,
    progress: Progress | None = None,
    definitions: Mapping[str, str] | None = None,
) -> Path:
    """The shared library of a top's Verilog with these pins; see `sim.build.build_simulator`.

    definitions: more macros for the harness (sim.memory).
    """
    more = tuple(f"-D{name}={value}" for name, value in (definitions or {}).items())
    return build_simulator(HARNESS, source, (*pins.defines, *more), identity=identity,
                           progress=progress)


@dataclass(frozen=True)
class Simulation:
    """A board's simulator: its shared library, the core's clock, the UART's baud rate."""

    library: Path
    clock_hz: int
    baud: int


def build_board(
    board: Board,
    c: Configuration | None = None,
    contents: Contents = EMPTY,
    core_hz: int | None = None,
    progress: Progress | None = None,
) -> Simulation:
    """The simulator of a whole board with its pins; the clock pin carries the core's clock.

    A configuration with external memory has the board's SDRAM chip at its pins, which checks its
    timing.

    Args:
        c: the device; by default the board's usual one.
        contents: what the memories hold at power-on, as in a bitstream.
        core_hz: another clock than the board's usual one. The UART takes fewer cycles then.

    Raises:
        SpikeletError: a link or a memory of which the harness has no model; as BoardTop.
    """
    c = c or configuration(board.configuration)
    link, memory = board.link, board.memory_of(c)
    if not isinstance(link, UartLink):
        raise SpikeletError(f"the link of {board.name} is {link}: the simulator of a board has a "
                            "UART at its pins")
    if memory is not None and not isinstance(memory, SdramMemory):
        raise SpikeletError(f"the memory of {board.name} is {memory}: the simulator of a board has "
                            "an SDRAM chip at its pins")
    top = BoardTop(board, c, contents, core_hz)
    pins = Pins(top.clock.name, link.rx, link.tx, top.leds.name if board.leds else None)
    identity = repr((board, c, contents.identity, top.core_hz))
    chip = None if memory is None else memory.timing
    definitions = SimulatedMemory(chip, top.core_hz).definitions(c)
    library = build_simulation(lambda: board_verilog(top), pins, identity, progress, definitions)
    return Simulation(library, top.core_hz, link.baud)
