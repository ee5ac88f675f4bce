"""Sessions with a device, kept in a file and replayed without the device.

A recording holds the link words that crossed a transport, in both directions and in order. Link
words do not depend on the line below them, so a recording made on one transport stands for all.
"""

import json
from pathlib import Path

import numpy as np

from host.transport import Transport
from isa.errors import SpikeletError

SEND, RECEIVE = 0, 1


class Recorder(Transport):
    """A transport that hands everything on to another one and keeps a copy.

    `label` is text for people: which device was recorded, where, and by which program.
    """

    def __init__(self, transport: Transport, label: str) -> None:
        self._transport, self.label = transport, label
        self._directions: list[int] = []
        self._parts: list[np.ndarray] = []

    def send(self, words: np.ndarray) -> None:
        self._keep(SEND, words)
        self._transport.send(words)

    def receive(self, count: int) -> np.ndarray:
        words = self._transport.receive(count)
        self._keep(RECEIVE, words)
        return words

    def _keep(self, direction: int, words: np.ndarray) -> None:
        self._directions.append(direction)
        self._parts.append(np.array(words, dtype="<u4"))

    @property
    def clock_hz(self) -> int | None:
        return self._transport.clock_hz

    def close(self) -> None:
        self._transport.close()

    def save(self, path: Path) -> None:
        """Writes the recording, in NumPy's npz format; `Replay` reads it."""
        about = {"label": self.label, "clock_hz": self.clock_hz}
        np.savez_compressed(
            path,
            about=np.frombuffer(json.dumps(about).encode(), np.uint8),
            directions=np.array(self._directions, np.uint8),
            lengths=np.array([len(part) for part in self._parts], "<u4"),
            words=np.concatenate([np.zeros(0, "<u4"), *self._parts]),
        )


class Replay(Transport):
    """Answers as a recorded device did, and checks that the host sends what it sent then.

    Raises:
        SpikeletError: the file is no recording. From `send` and `receive`: the host sends other
            words, or asks for another number of words, than when it was recorded.
    """

    def __init__(self, path: Path) -> None:
        try:
            with np.load(path) as file:
                about = json.loads(file["about"].tobytes())
                ends = np.cumsum(file["lengths"], dtype=np.int64)[:-1]
                parts = np.split(file["words"].astype(np.uint32), ends)
                self._parts = list(zip(file["directions"].tolist(), parts, strict=True))
        except (OSError, KeyError, ValueError) as error:
            raise SpikeletError(f"{path} is no recording of a session: {error}") from None
        self.label: str = about["label"]
        self._clock_hz = about["clock_hz"]
        self._at = 0

    @property
    def finished(self) -> bool:
        """Whether the host has come to the end of the recording."""
        return self._at == len(self._parts)

    @property
    def clock_hz(self) -> int | None:
        return self._clock_hz

    def send(self, words: np.ndarray) -> None:
        expected = self._next(SEND, "send")
        if not np.array_equal(expected, words):
            raise SpikeletError(f"step {self._at} of the recording sent {expected.size} words, now "
                                f"{np.size(words)} come, or others: record the session again")

    def receive(self, count: int) -> np.ndarray:
        words = self._next(RECEIVE, "receive")
        if words.size != count:
            raise SpikeletError(f"step {self._at} of the recording received {words.size} words, "
                                f"now {count} are wanted: record the session again")
        return words

    def _next(self, direction: int, name: str) -> np.ndarray:
        if self.finished or self._parts[self._at][0] != direction:
            raise SpikeletError(f"step {self._at + 1} of the recording is no {name}: record the "
                                "session again")
        self._at += 1
        return self._parts[self._at - 1][1]
