"""Channels with faults, and a host's session joined to a model of the device through them."""

import random
from collections.abc import Callable

import numpy as np

from golden.device.frame_link import DeviceLink
from host.transport.session import Session

Channel = Callable[[bytes], bytes]
STEP_SECONDS = 0.001
STEP_BYTES = 300  # 3 Mbaud: 10 bit times a byte


def clean(data: bytes) -> bytes:
    """A channel without faults."""
    return data


class Faults:
    """A channel that flips bits, loses, doubles and invents bytes; `rate`: faults a byte."""

    def __init__(self, rng: random.Random, rate: float) -> None:
        self.rng, self.rate = rng, rate
        self.count = 0

    def __call__(self, data: bytes) -> bytes:
        out, at = bytearray(), 0
        while self.rate and (step := int(self.rng.expovariate(self.rate))) < len(data) - at:
            out += data[at : at + step]
            at += step + 1
            self.count += 1
            byte = data[at - 1]
            kind = self.rng.randrange(5)
            if kind == 0:
                out.append(byte ^ 1 << self.rng.randrange(8))
            elif kind == 1:
                out += bytes([byte, byte])
            elif kind == 2:
                out += bytes([byte, *self.rng.randbytes(self.rng.randrange(1, 20))])
            elif kind == 3:
                at += self.rng.randrange(40)  # a gap
            # else: one byte lost
        return bytes(out + data[at:])


class Shuffle:
    """A channel that also loses, doubles, delays and swaps whole frames; `rate`: of them."""

    def __init__(self, rng: random.Random, rate: float, bytes_rate: float = 0.0) -> None:
        self.rng, self.rate, self.faults = rng, rate, Faults(rng, bytes_rate)
        self._late: list[bytes] = []
        self.count = 0

    def __call__(self, data: bytes) -> bytes:
        frames = [b"\x7e" + piece + b"\x7e" for piece in data.split(b"\x7e") if piece]
        out: list[bytes] = []
        for frame in frames:
            kind = self.rng.randrange(3) if self.rng.random() < self.rate else None
            self.count += kind is not None
            out += {None: [frame], 0: [], 1: [frame, frame], 2: []}[kind]
            if kind == 2:
                self._late.append(frame)
            elif self._late and self.rng.random() < 0.5:
                out.append(self._late.pop(self.rng.randrange(len(self._late))))
        return self.faults(b"".join(out))


class Pair:
    """A host's session and a device's link, joined at 3 Mbaud, in steps of a millisecond."""

    def __init__(self, session: Session, device: DeviceLink, down: Channel = clean,
                 up: Channel = clean) -> None:  # fmt: skip
        self.session, self.device, self.down, self.up = session, device, down, up
        self.now = 0.0
        self._lines = bytearray(), bytearray()  # what is on its way, down and up
        self.taken: list[int] = []  # by the device
        self.offered: list[int] = []  # by the device, not yet in its link
        self.appetite: int | None = None  # words a step that the device takes

    def step(self) -> None:
        """A millisecond."""
        self.now += STEP_SECONDS
        down, up = self._lines
        while len(down) < STEP_BYTES and (data := self.session.outgoing(self.now)):
            down += self.down(data)
        self.device.receive(bytes(down[:STEP_BYTES]), self.now)
        self.taken += self.device.take(self.appetite)
        del self.offered[: self.device.put(self.offered)]
        while len(up) < STEP_BYTES and (data := self.device.transmit(self.now)):
            up += self.up(data)
        self.session.feed(bytes(up[:STEP_BYTES]), self.now)
        del down[:STEP_BYTES], up[:STEP_BYTES]

    def run(self, until: Callable[[], bool], steps: int = 20_000) -> None:
        """Steps until a condition holds or the session fails."""
        for _ in range(steps):
            self.step()
            if until() or self.session.failure is not None:
                return
        raise AssertionError(f"not in {steps} steps")

    def send(self, words: list[int]) -> None:
        self.session.send(np.array(words, dtype=np.uint32))
