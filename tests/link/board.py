"""A board without hardware: the golden link and device behind a pseudo-terminal."""

import contextlib
import os
import pty
import select
import threading
import time
import tty
from collections.abc import Callable

import numpy as np

from golden.device.device import GoldenDevice
from golden.device.frame_link import DeviceLink
from isa.configurations import Configuration
from isa.frames import Hello


def clean(data: bytes) -> bytes:
    """A channel without faults."""
    return data


class PseudoBoard:
    """Runs in a thread from its making to `close`; a context manager.

    path: the port. down, up: channels that may be exchanged at any time (tests/link/channel.py).
    """

    def __init__(self, c: Configuration, hello: Hello | None = None) -> None:
        self.c = c
        self.link = DeviceLink(hello or Hello(c.identity), receive_words=512)
        self.device = GoldenDevice(c)
        self.down: Callable[[bytes], bytes] = clean
        self.up: Callable[[bytes], bytes] = clean
        self.deaf = False  # takes no words
        self._sessions = 0
        self._waiting: list[int] = []
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> "PseudoBoard":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Unplugs the board."""
        if not self._stop.is_set():
            self._stop.set()
            self._thread.join()
            os.close(self._slave)
            os.close(self._master)

    def power_cycle(self) -> None:
        """Takes the power away for a moment."""
        with self._lock:
            self.link.power_cycle()
            self.device = GoldenDevice(self.c)
            self._waiting.clear()

    def _run(self) -> None:
        while not self._stop.is_set():
            ready, _, _ = select.select([self._master], [], [], 0.005)
            data = os.read(self._master, 4096) if ready else b""
            with self._lock:
                # In pieces, as a line brings them: words go on between them.
                data = self.down(data)
                for at in range(0, max(len(data), 1), 256):
                    self._step(data[at : at + 256])

    def _step(self, data: bytes) -> None:
        link, now = self.link, time.monotonic()
        link.receive(data, now)
        if link.sessions != self._sessions:
            self._sessions = link.sessions
            self.device = GoldenDevice(self.c)
            self._waiting.clear()
        words = [] if self.deaf else link.take()
        if words:
            self.device.send(np.array(words, dtype=np.uint32))
            self._waiting += self.device.receive().tolist()
        del self._waiting[: link.put(self._waiting)]
        while out := link.transmit(now):
            with contextlib.suppress(OSError):
                os.write(self._master, self.up(out))
