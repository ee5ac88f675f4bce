"""A board on a serial port as a transport: the session of host/transport/session.py over pyserial.

One thread reads the port; another writes to it and keeps the session's timers. So the device gets
its acknowledgements even while the program is busy with something else.
"""

import contextlib
import errno
import secrets
import threading
import time

import numpy as np
import serial

from host.transport import Transport
from host.transport.session import IDLE_SECONDS, Session
from isa.errors import SpikeletError
from isa.frames import BAUD, Welcome

QUEUE_WORDS = 1 << 16  # not yet acknowledged; `send` waits while there are more
READ_BYTES = 1 << 16
READ_SECONDS = 0.1  # how often the reading thread looks whether the transport was closed


class SerialTransport(Transport):
    """The device at a serial port, in a session of its own, which resets the device.

    Tests and statistics may read `session`.

    Args:
        path: of the port, such as /dev/ttyUSB0 or COM3.
        baud: of the line; None stands for isa.frames.BAUD.
        patience: seconds without a frame from the device after which it counts as gone. The first
            answer may take as long.
        answer_seconds: how long `receive` waits for the next word, and `send` for room, while the
            device still acknowledges frames.
        probing: do not raise an error for a device of another contract or link version. `welcome`
            says which it is, and no word can be sent to it.

    Raises:
        SpikeletError: there is no such port, it is in use, may not be opened or is no serial port,
            or no device of this link and contract answers. From `send` and `receive`: the port is
            gone, or the device was reset, does not answer, or sends no words.
    """

    def __init__(self, path: str, baud: int | None = None, *, patience: float = 5.0,
                 answer_seconds: float = 120.0, probing: bool = False) -> None:  # fmt: skip
        self.path = path
        self._answer_seconds = answer_seconds
        self._port = _opened(path, baud or BAUD)
        self._changed = threading.Condition()
        self._closing = False
        self.session = Session(secrets.randbelow((1 << 32) - 1) + 1, time.monotonic(), patience)
        self._threads = [threading.Thread(target=loop, name=f"{loop.__name__} {path}", daemon=True)
                         for loop in (self._read, self._write)]  # fmt: skip
        for thread in self._threads:
            thread.start()
        try:
            with self._changed:
                self._wait(lambda: self.session.welcome is not None, lambda: 0)
                if not probing:
                    self._check()
        except BaseException:
            self.close()
            raise

    @property
    def welcome(self) -> Welcome:
        """What the device said of itself at the start of the session."""
        return self.session.welcome

    @property
    def clock_hz(self) -> int:
        return self.welcome.clock_hz

    def send(self, words: np.ndarray) -> None:
        with self._changed:
            self._check()
            self.session.send(words)
            self._changed.notify_all()
            self._wait(lambda: self.session.unsent_words <= QUEUE_WORDS,
                       lambda: self.session.unsent_words)  # fmt: skip

    def receive(self, count: int) -> np.ndarray:
        with self._changed:
            self._wait(lambda: self.session.received_words >= count,
                       lambda: self.session.received_words)  # fmt: skip
            return self.session.take(count)

    def close(self) -> None:
        with self._changed:
            self._closing = True
            self.session.fail("the transport was closed")
            self._changed.notify_all()
        for cancel in ("cancel_read", "cancel_write"):  # pyserial has them on some platforms only
            with contextlib.suppress(AttributeError, OSError, TypeError):
                getattr(self._port, cancel)()
        for thread in self._threads:
            thread.join()
        with contextlib.suppress(OSError):
            self._port.close()

    def _check(self) -> None:
        if self.session.failure is not None:
            raise SpikeletError(f"{self.path}: {self.session.failure}")

    def _wait(self, done, progress) -> None:
        """Waits until `done()` is true, while `progress()` changes every `answer_seconds`.

        Raises:
            SpikeletError: the session has failed, or nothing has changed for that long.
        """
        last, since = progress(), time.monotonic()
        while not done():
            self._check()
            self._changed.wait(IDLE_SECONDS)
            if progress() != last:
                last, since = progress(), time.monotonic()
            elif time.monotonic() - since > self._answer_seconds:
                raise SpikeletError(
                    f"{self.path}: the device is there, but has neither sent nor taken a word for "
                    f"{self._answer_seconds:g} s: it waits for something, or is stuck; start again"
                )

    def _read(self) -> None:
        while not self._closing:
            try:
                data = self._port.read(1)
                if data:
                    data += self._port.read(min(self._port.in_waiting, READ_BYTES))
            except (OSError, TypeError) as error:  # pyserial raises TypeError if closed meanwhile
                self._gone(error)
                return
            if data:
                with self._changed:
                    self.session.feed(data, time.monotonic())
                    self._changed.notify_all()

    def _write(self) -> None:
        while not self._closing:
            with self._changed:
                data = self.session.outgoing(time.monotonic())
                if self.session.failure is not None:
                    self._changed.notify_all()
                if not data:
                    now = time.monotonic()
                    self._changed.wait(max(self.session.deadline(now) - now, 0.001))
                    continue
            try:
                self._port.write(data)
            except serial.SerialTimeoutException:
                self._gone("it takes no bytes")
                return
            except (OSError, TypeError) as error:
                self._gone(error)
                return

    def _gone(self, reason: object) -> None:
        with self._changed:
            self.session.fail(f"the serial port is gone ({_short(reason)}): check the cable, then "
                              "start again")  # fmt: skip
            self._changed.notify_all()


def _opened(path: str, baud: int) -> serial.Serial:
    """Opens the port in raw mode and locks it for this process."""
    try:
        port = serial.Serial(path, baud, timeout=READ_SECONDS, write_timeout=10.0, exclusive=True)
    except ValueError:
        raise SpikeletError(f"{path} cannot do {baud} baud: give another baud rate, and build the "
                            "bitstream for it") from None
    except serial.SerialException as error:
        raise SpikeletError(_why_not_open(path, error)) from None
    with contextlib.suppress(AttributeError, NotImplementedError, ValueError, OSError):
        port.set_low_latency_mode(True)  # else some USB bridges hold bytes back for 16 ms
    return port


def _why_not_open(path: str, error: serial.SerialException) -> str:
    """What a user can do about a port that cannot be opened, as one line."""
    number = error.errno
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return f"there is no serial port {path}: spikelet devices lists the ports"
    if number in (errno.EACCES, errno.EPERM):
        return (f"no permission to open {path}: join the group that owns it (often dialout: "
                "sudo usermod -a -G dialout $USER), then log in again")
    if number in (errno.EBUSY, errno.EAGAIN):
        return f"{path} is in use by another program: close it, then start again"
    if number == errno.EISDIR or "configure port" in str(error):
        return f"{path} is no serial port: spikelet devices lists the ports"
    return f"cannot open {path}: {_short(error)}"


def _short(reason: object) -> str:
    """The reason as one line."""
    return " ".join(str(reason).split()) or type(reason).__name__
