"""The Verilated board as a Python object: the shared library of sim/board/harness.cc."""

import ctypes
import weakref
from dataclasses import dataclass
from pathlib import Path

from isa.errors import SpikeletError


@dataclass(frozen=True)
class Faults:
    """What goes wrong on one direction of the line: probabilities, 0 <= p <= 1."""

    flip: float = 0.0
    """Each bit of a byte."""
    drop: float = 0.0
    """Each byte."""
    insert: float = 0.0
    """A random byte before each byte."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0.0 <= value <= 1.0:
                raise SpikeletError(f"the probability to {name} is {value:g}: give 0 to 1")


@dataclass(frozen=True)
class LineCounts:
    """Bytes that went over one direction of the line, and the faults that were put in."""

    bytes: int
    flipped: int
    dropped: int
    inserted: int

    @property
    def faults(self) -> int:
        return self.flipped + self.dropped + self.inserted


@dataclass(frozen=True)
class BoardCounts:
    """What a board has done since it was made."""

    cycles: int
    to_board: LineCounts
    to_host: LineCounts
    framing_errors: int
    """Bytes to the host whose stop bit was 0."""
    lost: int
    """Bytes to the host that it did not read in time."""


class SimulatedBoard:
    """One Verilated board with its UART; its power is switched on when it is made.

    Args:
        library: a shared library of `sim.board.build`.
        clock_hz: frequency of the board's clock, which is what a cycle stands for.
        baud: bits a second on the pins; both ends have the same until `set_baud`.
    """

    def __init__(self, library: Path, clock_hz: float, baud: float) -> None:
        self._library = _load(library)
        self._handle = self._library.spikelet_board_new(clock_hz, baud)
        self._finalizer = weakref.finalize(self, self._library.spikelet_board_free, self._handle)

    def close(self) -> None:
        """Frees the simulation; the object cannot be used afterwards."""
        self._finalizer()

    def attach(self, file: int) -> None:
        """Bytes come from and go to this file descriptor, which must not block; -1: none."""
        self._library.spikelet_board_attach(self._handle, file)

    def forget(self) -> None:
        """Drops the bytes on their way to and from the host."""
        self._library.spikelet_board_forget(self._handle)

    def set_baud(self, baud: float) -> None:
        """Bits a second at the host's end."""
        self._library.spikelet_board_baud(self._handle, baud)

    def set_faults(self, to_board: Faults, to_host: Faults, seed: int) -> None:
        """Puts faults on the line from now on; the same seed gives the same ones."""
        for direction, faults in enumerate((to_board, to_host)):
            self._library.spikelet_board_faults(
                self._handle, direction, faults.flip, faults.drop, faults.insert, seed
            )

    def restart(self) -> None:
        """Takes the power away and gives it back: all begins with its initial value."""
        self._library.spikelet_board_restart(self._handle)

    @property
    def leds(self) -> int:
        return self._library.spikelet_board_leds(self._handle)

    def run(self, cycles: int, quiet: int) -> bool:
        """Runs for some cycles; True when no UART pin has moved for `quiet` cycles."""
        return bool(self._library.spikelet_board_run(self._handle, cycles, quiet))

    @property
    def memory_error(self) -> str:
        """The first rule of the SDRAM chip that the board broke; "" when none was."""
        return self._library.spikelet_board_error(self._handle).decode()

    def counts(self) -> BoardCounts:
        numbers = (ctypes.c_uint64 * 11)()
        self._library.spikelet_board_counts(self._handle, numbers)
        cycles, *lines, framing_errors, lost = numbers
        return BoardCounts(cycles, LineCounts(*lines[:4]), LineCounts(*lines[4:]),
                           framing_errors, lost)


def _load(path: Path) -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise SpikeletError(
            f"cannot load the simulator {path} ({error}): remove it, it will be built again"
        ) from None
    board, number, count = ctypes.c_void_p, ctypes.c_double, ctypes.c_uint64
    flag, bits = ctypes.c_int, ctypes.c_uint32
    signatures = {
        "new": (board, [number, number]),
        "free": (None, [board]),
        "baud": (None, [board, number]),
        "attach": (None, [board, flag]),
        "forget": (None, [board]),
        "faults": (None, [board, flag, number, number, number, count]),
        "restart": (None, [board]),
        "leds": (bits, [board]),
        "error": (ctypes.c_char_p, [board]),
        "run": (flag, [board, count, count]),
        "counts": (None, [board, ctypes.POINTER(count)]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, f"spikelet_board_{name}")
        function.restype, function.argtypes = result, arguments
    return library
