"""A virtual board: a Verilated board that runs in a thread behind a pseudo-terminal."""

import atexit
import contextlib
import os
import select
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from isa.frames import DEVICE_RESEND_SECONDS
from sim.board.library import BoardCounts, Faults, SimulatedBoard
from sim.board.terminal import Terminal

_SLICE_SECONDS = 0.02  # the clock runs so long between two looks at what is asked for
_FIRST_CYCLES = 20_000
# Of the board's time, without a change on a pin: it naps. Longer than what it waits for an answer.
_QUIET_SECONDS = 1.2 * DEVICE_RESEND_SECONDS
_NAP_SECONDS = 0.25


class VirtualBoard:
    """A board that runs from its making until `close`; a context manager.

    While no pin of its UART moves it naps, so that an idle board takes little of the processor:
    its clock goes slower, and as fast as it can again as soon as the host sends something.

    Args:
        library: a shared library of `sim.board.build`.
        clock_hz: the board's clock; the simulation is slower than that.
        baud: the board's baud rate. What the host sets counts on its own end of the line: another
            one garbles every byte.
        symlink: a symbolic link to the pseudo-terminal, for a name that stays.

    Raises:
        SpikeletError: no pseudo-terminal can be opened.
    """

    def __init__(
        self, library: Path, clock_hz: int, baud: int, symlink: Path | None = None
    ) -> None:
        self.clock_hz, self.baud = clock_hz, baud
        self._symlink = symlink
        self._terminal: Terminal | None = Terminal(baud, symlink)
        self.path = self._terminal.path
        """What the host opens."""
        self._board = SimulatedBoard(library, clock_hz, baud)
        self._board.attach(self._terminal.file)
        self._wake, self._waker = os.pipe2(os.O_NONBLOCK)
        self._asked: SimpleQueue = SimpleQueue()
        self._stopping = False
        self.seconds = 0.0  # of wall time in which the clock ran
        self._thread = threading.Thread(target=self._loop, name="virtual board", daemon=True)
        self._thread.start()
        atexit.register(self.close)  # the thread must not outlive the interpreter

    def __enter__(self) -> "VirtualBoard":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def leds(self) -> int:
        return self._do(lambda: self._board.leds)

    @property
    def memory_error(self) -> str:
        """The first rule of its SDRAM chip that the board broke; "" when none was."""
        return self._do(lambda: self._board.memory_error)

    def counts(self) -> BoardCounts:
        return self._do(self._board.counts)

    def set_faults(self, to_board: Faults, to_host: Faults, seed: int) -> None:
        """Puts faults on the line from now on."""
        self._do(lambda: self._board.set_faults(to_board, to_host, seed))

    def restart(self) -> None:
        """Takes the board's power away and gives it back; the port stays open."""
        self._do(self._board.restart)

    def close_port(self) -> None:
        """Pulls the cable: the host's reads and writes fail, bytes under way are lost."""

        def act() -> None:
            self._board.attach(-1)
            self._board.forget()
            self._terminal.close()
            self._terminal = None

        self._do(act)

    def open_port(self) -> str:
        """Plugs the cable in again; the path, which is a new one unless `symlink` names it."""

        def act() -> str:
            self._terminal = Terminal(self.baud, self._symlink)
            self._board.attach(self._terminal.file)
            self.path = self._terminal.path
            return self.path

        return self._do(act)

    def replug(self) -> None:
        """Pulls the cable and plugs it in again."""
        self.close_port()
        self.open_port()

    def close(self) -> None:
        """Stops the clock and hangs up. `counts` and `seconds` stay."""
        if self._stopping:
            return
        counts = self.counts()
        self._stopping = True
        atexit.unregister(self.close)
        self._wake_up()
        self._thread.join()
        self.counts = lambda: counts
        if self._terminal is not None:
            self._terminal.close()
        self._board.close()
        os.close(self._wake)
        os.close(self._waker)

    def _do(self, act: Callable[[], Any]) -> Any:
        """Runs `act` between two slices and returns what it gives; raises what it raises."""
        done, result = threading.Event(), []

        def run() -> None:
            try:
                result.append((act(), None))
            except Exception as error:
                result.append((None, error))
            done.set()

        self._asked.put(run)
        self._wake_up()
        done.wait()
        value, error = result[0]
        if error is not None:
            raise error
        return value

    def _wake_up(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full: it wakes up anyway
            os.write(self._waker, b"x")

    def _loop(self) -> None:
        cycles, quiet = _FIRST_CYCLES, int(_QUIET_SECONDS * self.clock_hz)
        while not self._stopping:
            while not self._asked.empty():
                self._asked.get()()
            before, start = self._board.counts().cycles, time.perf_counter()
            idle = self._board.run(cycles, quiet)
            passed = time.perf_counter() - start
            self.seconds += passed
            if idle:
                self._nap()
            if passed:
                speed = (self._board.counts().cycles - before) / passed
                cycles = max(1000, int(speed * _SLICE_SECONDS))

    def _nap(self) -> None:
        """Waits a little, or until the host sends something or somebody asks for something."""
        files = [self._wake] + ([self._terminal.file] if self._terminal is not None else [])
        ready, _, _ = select.select(files, [], [], _NAP_SECONDS)
        if self._wake in ready:
            os.read(self._wake, 1 << 16)
