"""What the flow, the tops and the tools know of a board; everything else is in amaranth-boards."""

import importlib
from dataclasses import dataclass
from enum import StrEnum

from isa.errors import SpikeletError


class Family(StrEnum):
    """What places and routes a design, and which cells a top may use."""

    ecp5 = "ecp5"
    gowin = "gowin"
    ice40 = "ice40"
    xilinx = "xilinx"  # a project for the vendor's tools only


class ExternalMemory(StrEnum):
    none = "none"
    sdram = "sdram"


@dataclass(frozen=True)
class Board:
    """A board and what a device on it looks like by default.

    Pins, package and speed grade are those of `platform`, a class of amaranth-boards (or one of
    our own) as "module:Class". Frequencies are in Hz, the UART's in baud.
    """

    name: str
    description: str
    platform: str
    family: Family
    part: str  # as the vendor writes it, for people
    configuration: str  # by default
    clock: str  # resource of the board's oscillator
    clock_hz: int
    core_hz: int  # of the device, made by a PLL unless it is clock_hz
    baud: int
    loader: str  # the board's name in openFPGALoader
    vendor: str  # of the FPGA
    uart: tuple[str, int] = ("uart", 0)
    leds: int = 8  # resources ("led", 0..); fewer show the first
    memory: ExternalMemory = ExternalMemory.none

    def platform_class(self) -> type:
        """The platform's class.

        Raises:
            SpikeletError: amaranth-boards is not installed.
        """
        module, name = self.platform.split(":")
        try:
            return getattr(importlib.import_module(module), name)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.split(".")[0] != "amaranth_boards":
                raise
            raise SpikeletError("the package amaranth-boards, which knows the boards' pins, is not "
                                "installed: pip install 'spikelet[boards]'") from None
