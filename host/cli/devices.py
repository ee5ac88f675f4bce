"""spikelet devices: the serial ports, and the boards that answer on them."""

from pathlib import Path
from typing import Annotated

import typer

from host.cli.device import split_baud
from host.cli.terminal import emit, print_grid
from isa.configurations import CONFIGURATIONS
from isa.errors import SpikeletError

ASK_SECONDS = 2.0  # to wait for an answer, by default


def devices(
    ports: Annotated[list[str] | None, typer.Argument(
        metavar="[PORT]...", help="Ports to ask (PATH or PATH@BAUD), beside those that are "
                                  "found.")] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long to wait for each "
                                                         "answer.")] = ASK_SECONDS,
) -> None:
    """Lists serial ports and what answers: configuration, contract, model, clock.

    USB ports and those that are named are asked, which resets a Spikelet device that is idle. Other
    ports may have something else behind them: they are only listed.

    \b
    Example:
      spikelet devices
      spikelet devices /dev/pts/3
    """
    from serial.tools import list_ports

    found = {port.device: port for port in list_ports.comports()}
    rows = []
    for port in ports or []:
        path, baud = split_baud(port.removeprefix("serial:"))
        found.pop(str(Path(path).resolve()), None)
        rows.append([path, "named", _ask(path, [baud] if baud else _bauds(), seconds)])
    for path, port in sorted(found.items()):
        usb = port.vid is not None
        rows.append([path, port.description if usb else "no USB port",
                     _ask(path, _bauds(), seconds) if usb else "not asked: name it to ask it"])
    if not rows:
        emit("no serial port: connect a board, start spikelet board-sim, or name a port\n")
        return
    print_grid(rows)


def _bauds() -> list[int]:
    """The baud rates of all boards, the usual one first."""
    from hdl.boards import BOARDS
    from hdl.boards.uart_link import UartLink
    from isa.frames import BAUD

    rates = {b.link.baud for b in BOARDS.values() if isinstance(b.link, UartLink)}
    return sorted(rates, key=lambda baud: (baud != BAUD, -baud))


def _ask(path: str, bauds: list[int], seconds: float) -> str:
    """What is behind a port, in words; it is asked at one baud rate after the other."""
    from host.transport.packets import PacketLink, device_identity
    from host.transport.serial import SerialTransport
    from isa.frames import BAUD

    for baud in bauds:
        try:
            with SerialTransport(path, baud, patience=seconds) as board:
                told, image = board.welcome, device_identity(PacketLink(board))["image"]
        except SpikeletError as error:
            answer = str(error).removeprefix(f"{path}: ")
            if "no Spikelet device answered" in answer:
                continue
            return answer
        names = {c.identity: c.name for c in CONFIGURATIONS.values()}
        name = names.get(told.configuration, f"unknown ({told.configuration:08x})")
        model = f"model {image:08x} from the bitstream" if image else "no model in it"
        return (f"Spikelet, configuration {name}, contract {told.contract}, {model}, "
                f"{told.clock_hz / 1e6:g} MHz" + ("" if baud == BAUD else f"; use {path}@{baud}"))
    return answer
