"""Transports: how link words reach a device and come back.

One interface serves the golden device, the simulated device, a board on a serial port and a
recording, so the same host code runs in tests and on a board.
"""

from abc import ABC, abstractmethod

import numpy as np


class Transport(ABC):
    """Link words (uint32) to and from one device, in order, none lost."""

    @abstractmethod
    def send(self, words: np.ndarray) -> None:
        """Hands words to the device; may return before the device has taken them.

        The device may produce answers of any length before it has taken all words. An
        implementation has to accept these meanwhile, or both sides would wait for each other.
        """

    @abstractmethod
    def receive(self, count: int) -> np.ndarray:
        """Waits for the next `count` words.

        Raises:
            SpikeletError: they will not come, because the device itself waits for words or has been
                silent for too long.
        """

    @property
    def clock_hz(self) -> int | None:
        """The frequency of the device's clock; None where the device has no real clock."""
        return None

    @property
    def cycles(self) -> int | None:
        """Clock cycles since the device was started; None where the transport cannot see them."""
        return None

    def close(self) -> None:  # noqa: B027 - most devices need nothing
        """Gives the device back. The transport cannot be used afterwards."""

    def __enter__(self) -> "Transport":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
