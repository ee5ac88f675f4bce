"""spikelet flash: writes a bitstream to a board, with openFPGALoader."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from host.cli.terminal import note
from isa.errors import SpikeletError

_NO_BOARD = ("unable to open", "no device found", "device not found", "can't find", "no cable",
             "jtag init failed", "found 0 devices", "fails to open")


def flash(
    board: Annotated[str, typer.Option("--board", "-b", help="The board that is attached.")],
    bitstream: Annotated[Path, typer.Argument(help="What spikelet build made for it.")],
    permanent: Annotated[bool, typer.Option("--permanent", help="Into the board's flash memory; "
                                            "without, until power goes.")] = False,
) -> None:
    """Writes a bitstream to an attached board.

    \b
    Example:
      spikelet flash --board ulx3s_85f build/ulx3s_85f-ulx3s/ulx3s_85f-ulx3s.bit
    """
    from hdl.boards import board as find_board
    from host.flow import tools

    chosen = find_board(board)
    if not bitstream.is_file():
        raise SpikeletError(f"bitstream {bitstream} is not a file: make one with spikelet build "
                            f"--board {board}")
    tools.find(tools.OPENFPGALOADER)
    arguments = ["-b", chosen.loader, "--write-flash" if permanent else "--write-sram",
                 str(bitstream.absolute())]
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            tools.run(tools.OPENFPGALOADER, arguments, Path(folder), Path(folder) / "log",
                      lines.append)
        except SpikeletError:
            raise _explained(chosen.name, lines) from None
    note(f"{bitstream} is in {chosen.name}")


def _explained(board: str, lines: list[str]) -> SpikeletError:
    """The error that tells a user what openFPGALoader's output means."""
    text = " ".join(lines)
    said = next((line for line in lines if "error" in line.lower()), lines[-1] if lines else "")
    if "libusb" in text and "shared librar" in text:
        return SpikeletError("openFPGALoader needs the system's libusb-1.0 (Debian: apt-get "
                             f"install libusb-1.0-0 libhidapi-hidraw0): {said}")
    if any(words in text.lower() for words in _NO_BOARD):
        return SpikeletError(f"no {board} found: attach it, and see that its USB device may be "
                             f"opened (udev rules); openFPGALoader said: {said}")
    return SpikeletError(f"openFPGALoader failed: {said or 'without a word'}")
