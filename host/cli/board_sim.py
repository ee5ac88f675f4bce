"""spikelet board-sim: a simulated board behind a pseudo-terminal."""

import math
import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from host.cli.sources import ConfigurationOption, begin_and_end, make_image, read_model
from host.cli.terminal import emit, note, progress
from isa.errors import SpikeletError


def board_sim(
    board: Annotated[str, typer.Option("--board", "-b", help="Name of the board.")] = "ulx3s_85f",
    config: ConfigurationOption = None,
    model: Annotated[Path | None, typer.Option("--model", "-m", help="Image or checkpoint that "
                                               "lies in the board's memories at power-on.")] = None,
    link: Annotated[Path | None, typer.Option(help="Symbolic link to make to the "
                                                   "pseudo-terminal: a name that stays.")] = None,
    clock_mhz: Annotated[float | None, typer.Option(
        help="Clock of the core. A slow one has fewer cycles a byte: the simulated link is "
             "faster. Default: the board's.")] = None,
    flip: Annotated[float, typer.Option(help="Probability that a bit on the line flips.")] = 0.0,
    drop: Annotated[float, typer.Option(help="Probability that a byte is lost.")] = 0.0,
    insert: Annotated[float, typer.Option(help="Probability of a random byte before "
                                               "each.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of these faults.")] = 1,
) -> None:
    """Runs a board's whole design, pins included, behind a pseudo-terminal until Ctrl-C.

    Prints the path to give to --device serial:PATH. Every bit goes over the UART's pins at the
    board's baud rate, counted in cycles of its clock. SIGUSR1 takes the board's power away and
    gives it back; SIGUSR2 pulls its cable and plugs it in again (use --link).

    \b
    Example:
      spikelet board-sim --board ulx3s_85f
    """
    from hdl.boards import board as find_board
    from isa.configurations import configuration
    from isa.contents import EMPTY, contents
    from isa.frames import BAUD
    from sim.board.build import build_board
    from sim.board.library import Faults
    from sim.board.virtual import VirtualBoard

    record = find_board(board)
    faults = Faults(flip, drop, insert)
    if clock_mhz is not None and not (math.isfinite(clock_mhz) and clock_mhz > 0):
        raise SpikeletError(f"--clock-mhz is {clock_mhz:g}: give a number above 0")
    c = configuration(config or record.configuration)
    held = EMPTY
    if model is not None:
        source = read_model(model, c.name)
        held = contents(make_image(source, c.name, None, None, *begin_and_end(model, None)), c)
    with progress(f"building the simulator of '{board}' with '{c.name}' (once)") as tell:
        core_hz = None if clock_mhz is None else round(clock_mhz * 1e6)
        simulation = build_board(record, c, held, core_hz,
                                 lambda stage, fraction: tell(fraction, stage))
    ended = threading.Event()
    with VirtualBoard(simulation.library, simulation.clock_hz, simulation.baud, link) as virtual:
        virtual.set_faults(faults, faults, seed)
        handlers = {signal.SIGINT: ended.set, signal.SIGTERM: ended.set,
                    signal.SIGUSR1: virtual.restart, signal.SIGUSR2: virtual.replug}
        old = {number: signal.signal(number, lambda _signal, _frame, act=act: act())
               for number, act in handlers.items()}
        try:
            rate = "" if simulation.baud == BAUD else f"@{simulation.baud}"
            emit(f"{virtual.path}{rate}\n")
            note(f"'{c.name}' on '{board}', {simulation.clock_hz / 1e6:g} MHz, "
                 f"{simulation.baud:,} baud; Ctrl-C ends it")
            while not ended.wait(0.2):  # signals are handled between two of them
                if broken := virtual.memory_error:
                    raise SpikeletError(f"the board breaks a rule of its SDRAM chip: {broken}")
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)
    note(summary(virtual))


def summary(board) -> str:
    """What a virtual board has done, as one line."""
    counts, seconds = board.counts(), max(board.seconds, 1e-9)
    speed = counts.cycles / seconds
    line = (f"{counts.cycles:,} cycles in {seconds:.1f} s: {speed / 1e6:.3f} million a second, "
            f"1/{max(board.clock_hz / max(speed, 1), 1):,.0f} of the board's speed; "
            f"{counts.to_board.bytes:,} bytes to the board, {counts.to_host.bytes:,} to the host")
    faults = counts.to_board.faults + counts.to_host.faults
    if faults:
        line += f", {faults:,} faults put in"
    if counts.lost:
        line += f", {counts.lost:,} bytes that the host did not read are lost"
    return line
