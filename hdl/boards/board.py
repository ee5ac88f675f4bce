"""What the flow, the tops and the tools know of a board; everything else is in amaranth-boards."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import Component, Member

from isa.configurations import Configuration
from isa.contents import Contents
from isa.errors import SpikeletError


class Family(StrEnum):
    """What places and routes a design, and which cells a top may use."""

    ecp5 = "ecp5"
    gowin = "gowin"
    ice40 = "ice40"
    xilinx = "xilinx"  # a project for the vendor's tools only


class Attachment(Protocol):
    """Something outside the FPGA that a part of the core drives through pins of its own.

    A record, compared and printed by its values: the caches of simulators are keyed by them.
    """

    @property
    def ports(self) -> Mapping[str, Member]:
        """Name, direction (In: into the FPGA) and shape of each pin of a top without a platform."""

    def attach(self, m: Module, platform: object, core: Component,
               signals: Mapping[str, Signal]) -> None:
        """Connects the pins that the component has put among the ports of `core`: to the
        platform's resource, or, where `platform` is None, to `signals`, which has one of each of
        `ports`."""


class HostLink(Attachment, Protocol):
    """How a board talks to its host. `str()` of it tells people how fast."""

    @property
    def words_a_second(self) -> float:
        """32-bit words that it brings to the device, at best."""

    def component(self, c: Configuration, clock_hz: int, contents: Contents) -> Component:
        """The link's end in the FPGA for a device of `c` with these contents. Its ports are those
        of hdl.link.device_side and, under any other names, its pins."""


class ExternalMemory(Attachment, Protocol):
    """The memory chip of a board, for configurations with external memory."""

    @property
    def words(self) -> int:
        """32-bit words that it holds."""

    @property
    def late_domain(self) -> str | None:
        """The clock domain of its pins, a quarter of a cycle ahead of the device's next edge; None
        where it needs no clock of its own."""

    def component(self, clock_hz: float) -> Component:
        """Its controller. Its ports are `memory` and `flush`, as hdl.memory_device asks for them,
        and, under any other names, its pins."""


@dataclass(frozen=True)
class Board:
    """A board and what a device on it looks like by default.

    Pins, package and speed grade are those of `platform`, a class of amaranth-boards (or one of
    our own) as "module:Class". Frequencies are in Hz.
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
    link: HostLink
    loader: str  # the board's name in openFPGALoader
    vendor: str  # of the FPGA
    leds: int = 8  # resources ("led", 0..); fewer show the first
    memory: ExternalMemory | None = None

    def memory_of(self, c: Configuration) -> ExternalMemory | None:
        """The memory that a device of `c` uses here: None where it asks for none.

        Raises:
            SpikeletError: `c` asks for external memory, and the board has none or too little.
        """
        if not c.external_words:
            return None
        if self.memory is None:
            raise SpikeletError(f"the configuration '{c.name}' has its weights in external memory, "
                                f"and {self.name} has none: choose another --config")
        if self.memory.words < c.external_words:
            raise SpikeletError(f"the configuration '{c.name}' has {c.external_words:,} words of "
                                f"external memory, the chip of {self.name} {self.memory.words:,}: "
                                "choose another --config")
        return self.memory

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
