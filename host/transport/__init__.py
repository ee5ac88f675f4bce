"""Transports: how link words reach a device and come back. One interface, several devices."""

from abc import ABC, abstractmethod

import numpy as np


class Transport(ABC):
    """Link words (uint32) to and from one device, in order, none lost."""

    @abstractmethod
    def send(self, words: np.ndarray) -> None:
        """Hands words to the device; may return before the device has taken them.

        The device may have answers waiting meanwhile, of any length: they must not stop it.
        """

    @abstractmethod
    def receive(self, count: int) -> np.ndarray:
        """Waits for the next `count` words.

        Raises:
            SpikeletError: they will not come (the device waits for words, or is silent too long).
        """

    @property
    def clock_hz(self) -> int | None:
        """The device's clock, where it is a real one and says so."""
        return None

    @property
    def cycles(self) -> int | None:
        """Clock cycles since the device was started, where the transport can see them."""
        return None

    def close(self) -> None:  # noqa: B027 - most devices need nothing
        """Gives the device back. The transport cannot be used afterwards."""

    def __enter__(self) -> "Transport":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
