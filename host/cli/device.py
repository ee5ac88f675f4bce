"""The option --device: which device a command runs on, and how the command opens it."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from host.cli.terminal import progress
from isa.configurations import CONFIGURATIONS, Configuration, configuration
from isa.errors import SpikeletError

if TYPE_CHECKING:
    from host.transport import Transport

DeviceOption = Annotated[
    str,
    typer.Option("--device", help="sim: the Verilated hardware. golden: its golden model. "
                                  "serial:PATH or serial:PATH@BAUD: a board, or a virtual one, on "
                                  "a serial port."),
]

class DeviceKind(StrEnum):
    sim = "sim"
    golden = "golden"
    serial = "serial"


@dataclass(frozen=True)
class Device:
    """The device that --device names.

    `path` and `baud` belong to a serial port. None stands for the usual baud rate.
    """

    kind: DeviceKind
    path: str = ""
    baud: int | None = None

    @staticmethod
    def parse(text: str) -> "Device":
        """The device that the text of --device names.

        Raises:
            SpikeletError: there is no such kind of device, or a serial port has no path.
        """
        kind, colon, path = text.partition(":")
        if kind == DeviceKind.serial:
            if not path:
                raise SpikeletError("--device serial needs a port: serial:/dev/ttyUSB0, or what "
                                    "spikelet devices lists")
            return Device(DeviceKind.serial, *split_baud(path))
        if colon or kind not in tuple(DeviceKind):
            raise SpikeletError(f"there is no device '{text}': use sim, golden or serial:PATH")
        return Device(DeviceKind(kind))


def split_baud(port: str) -> tuple[str, int | None]:
    """Path and baud rate of PATH or PATH@BAUD; None where no baud rate is given.

    Raises:
        SpikeletError: what follows the @ is no baud rate.
    """
    path, at, baud = port.rpartition("@")
    if not at:
        return port, None
    if not baud.isdecimal() or not int(baud):
        raise SpikeletError(f"'{baud}' in {port} is no baud rate: write PATH@3000000, or the path "
                            "alone")
    return path, int(baud)


def open_device(device: Device, name: str = "", waves: Path | None = None) -> "Transport":
    """Opens a device, and builds its simulator where that is missing.

    `name` is the configuration. A board has its own, so it needs none. `waves` is a file for
    waveforms of the simulated device.

    Raises:
        SpikeletError: there is no such configuration, no board answers, or the simulator cannot be
            built.
    """
    if device.kind is DeviceKind.serial:
        from host.transport.serial import SerialTransport

        return SerialTransport(device.path, device.baud)

    sizes = configuration(name)
    if device.kind is DeviceKind.golden:
        from host.transport.golden import GoldenTransport

        return GoldenTransport(sizes)

    from host.transport.simulated import SimulatedTransport

    with progress(f"building the simulator of '{sizes.name}' (once)") as tell:
        return SimulatedTransport(sizes, waves, lambda stage, fraction: tell(fraction, stage))


def board_configuration(board: "Transport") -> Configuration:
    """The configuration that a device says it has.

    Raises:
        SpikeletError: this installation does not know it.
    """
    from host.transport.packets import PacketLink, device_identity

    found = device_identity(PacketLink(board))["configuration"]
    for c in CONFIGURATIONS.values():
        if c.identity == found:
            return c
    raise SpikeletError(f"the device has a configuration ({found:08x}) that is unknown here: "
                        "build and flash its bitstream again")
