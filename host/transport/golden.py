"""The golden device as a transport. It has no clock: every answer is there at once."""

import numpy as np

from golden.device.device import GoldenDevice
from host.transport import Transport
from isa.configurations import Configuration
from isa.errors import SpikeletError


class GoldenTransport(Transport):
    """A golden device of one configuration. Tests may use `device` to read traces and memories."""

    def __init__(self, configuration: Configuration) -> None:
        self.device = GoldenDevice(configuration)
        self._waiting = np.zeros(0, dtype=np.uint32)

    def send(self, words: np.ndarray) -> None:
        self.device.send(words)

    def receive(self, count: int) -> np.ndarray:
        while self._waiting.size < count:
            more = self.device.receive()
            if not more.size:
                raise SpikeletError("the golden device has no answer: it waits for more words of "
                                    "the present packet or for streamed weights")
            self._waiting = np.concatenate([self._waiting, more])
        words, self._waiting = self._waiting[:count], self._waiting[count:]
        return words
