"""Builds a board's simulator: the Verilog of its top, with the harness of its pins."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sim.build import Harness, build_simulator
from sim.compiler import Progress

TOP = "spikelet_board"
"""The Verilog module that the harness drives."""

HARNESS = Harness("board", TOP, Path(__file__).with_name("harness.cc"))


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
) -> Path:
    """The shared library of a top's Verilog with these pins; see `sim.build.build_simulator`."""
    return build_simulator(HARNESS, source, pins.defines, identity=identity, progress=progress)
