"""A pseudo-terminal that looks like a board's serial port."""

import contextlib
import fcntl
import os
import struct
import termios
import tty
from pathlib import Path

from isa.errors import SpikeletError

_SPEEDS = {
    getattr(termios, name): int(name[1:])
    for name in dir(termios)
    if name.startswith("B") and name[1:].isdigit()
}
_TCGETS2 = 0x802C542A
_TERMIOS2 = struct.Struct("4I20s2I")  # flags, control characters, the two rates in bits a second


class Terminal:
    """An open pseudo-terminal; `file` is the board's end, which does not block.

    `path` is what the host opens: the terminal's own name, or `link`, a symbolic link to it that
    has the same name each time.

    Raises:
        SpikeletError: no pseudo-terminal can be opened, or the link cannot be made.
    """

    def __init__(self, baud: int, link: Path | None = None) -> None:
        try:
            self.file, self._host = os.openpty()
        except OSError as error:
            raise SpikeletError(f"cannot open a pseudo-terminal: {error.strerror}") from None
        os.set_blocking(self.file, False)
        tty.setraw(self._host)
        self._set_baud(baud)
        self._link = link
        self.path = str(link or os.ttyname(self._host))
        if link is not None:
            self._make_link(link)

    def _make_link(self, link: Path) -> None:
        try:
            if link.is_symlink():  # of a board that was killed
                link.unlink()
            link.symlink_to(os.ttyname(self._host))
        except OSError as error:
            self._link = None
            self.close()
            raise SpikeletError(f"cannot make the link {link}: {error.strerror}") from None

    def _set_baud(self, baud: int) -> None:
        constants = {speed: constant for constant, speed in _SPEEDS.items()}
        if baud in constants:
            attributes = termios.tcgetattr(self._host)
            attributes[4] = attributes[5] = constants[baud]
            termios.tcsetattr(self._host, termios.TCSANOW, attributes)

    def host_baud(self) -> int | None:
        """The baud rate that the host has set; None where the system does not tell."""
        speed = _SPEEDS.get(termios.tcgetattr(self._host)[5])
        if speed is None:  # one without a name: Linux has it in its own structure
            with contextlib.suppress(OSError):
                raw = fcntl.ioctl(self._host, _TCGETS2, bytes(_TERMIOS2.size))
                speed = _TERMIOS2.unpack(raw)[-1]
        return speed

    def close(self) -> None:
        """Hangs up: the host's reads and writes fail from now on."""
        if self._link is not None:
            with contextlib.suppress(OSError):
                self._link.unlink()
        os.close(self.file)
        os.close(self._host)
