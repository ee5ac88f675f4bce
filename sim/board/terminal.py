"""A pseudo-terminal that looks like a board's serial port."""

import contextlib
import os
import termios
import tty
from pathlib import Path

from isa.errors import SpikeletError


class Terminal:
    """An open pseudo-terminal; `file` is the board's end, which does not block.

    `path` is what the host opens: the terminal's own name, or `symlink`, a symbolic link to it that
    has the same name each time.

    Raises:
        SpikeletError: no pseudo-terminal can be opened, or the link cannot be made.
    """

    def __init__(self, baud: int, symlink: Path | None = None) -> None:
        try:
            self.file, self._host = os.openpty()
        except OSError as error:
            raise SpikeletError(f"cannot open a pseudo-terminal: {error.strerror}") from None
        os.set_blocking(self.file, False)
        tty.setraw(self._host)
        self._set_baud(baud)
        self._symlink = symlink
        self.path = str(symlink or os.ttyname(self._host))
        if symlink is not None:
            self._make_symlink(symlink)

    def _make_symlink(self, symlink: Path) -> None:
        try:
            if symlink.is_symlink():  # of a board that was killed
                symlink.unlink()
            symlink.symlink_to(os.ttyname(self._host))
        except OSError as error:
            self._symlink = None
            self.close()
            raise SpikeletError(f"cannot make the link {symlink}: {error.strerror}") from None

    def _set_baud(self, baud: int) -> None:
        constant = getattr(termios, f"B{baud}", None)
        if constant is not None:  # else the host sets it when it opens the port
            attributes = termios.tcgetattr(self._host)
            attributes[4] = attributes[5] = constant
            termios.tcsetattr(self._host, termios.TCSANOW, attributes)

    def close(self) -> None:
        """Hangs up: the host's reads and writes fail from now on."""
        if self._symlink is not None:
            with contextlib.suppress(OSError):
                self._symlink.unlink()
        os.close(self.file)
        os.close(self._host)
