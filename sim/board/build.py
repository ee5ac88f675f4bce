"""Builds a board's simulator: the Verilog of its top, with the harness of its pins."""

from collections.abc import Callable
from pathlib import Path

from sim.build import Harness, build_simulator
from sim.compiler import Progress

TOP = "spikelet_board"
"""The Verilog module that the harness drives."""

BOARD = Harness("board", TOP, Path(__file__).with_name("harness.cc"))


def build_board(
    source: str | Callable[[], str], identity: str | None = None, progress: Progress | None = None
) -> Path:
    """The shared library of a board from its Verilog; see `sim.build.build_simulator`."""
    return build_simulator(BOARD, source, identity=identity, progress=progress)
