"""Bench of the frame link: the host's session on one side, streams of words on the other."""

import random
from collections.abc import Callable

import numpy as np
from cocotb.handle import HierarchyObject
from cocotb.triggers import RisingEdge

from host.transport.session import Session

SECONDS_A_CYCLE = 1e-6  # of the session's clock, so that its timers fit a short simulation

Channel = Callable[[bytes], bytes]


def clean(data: bytes) -> bytes:
    """A channel without faults."""
    return data


class Faults:
    """A channel that flips bits, loses, doubles and invents bytes; `rate`: faults a byte."""

    def __init__(self, rng: random.Random, rate: float) -> None:
        self.rng, self.rate = rng, rate
        self.faults = 0

    def __call__(self, data: bytes) -> bytes:
        out = bytearray()
        for byte in data:
            if self.rng.random() >= self.rate:
                out.append(byte)
                continue
            self.faults += 1
            kind = self.rng.randrange(4)
            if kind == 0:
                out.append(byte ^ 1 << self.rng.randrange(8))
            elif kind == 1:
                out += bytes([byte, byte])
            elif kind == 2:
                out += bytes([byte, *self.rng.randbytes(self.rng.randrange(1, 20))])
            # else: lost
        return bytes(out)


class HostSide:
    """Plays the host on the byte ports of a FrameLink, a byte each `gap` cycles each way."""

    def __init__(self, dut: HierarchyObject, number: int, gap: int = 1, down: Channel = clean,
                 up: Channel = clean) -> None:  # fmt: skip
        self.dut, self.gap, self.down, self.up = dut, gap, down, up
        self.cycle = 0
        self.session = Session(number, 0.0)
        self.line: list[int] = []  # bytes on their way to the device
        dut.bytes_in__valid.value = 0
        dut.bytes_out__ready.value = 0

    async def run(self, until: Callable[[], bool], cycles: int = 400_000) -> None:
        """Runs until a condition holds; fails after so many cycles or when the session fails."""
        dut, edge = self.dut, RisingEdge(self.dut.clk)
        came = bytearray()
        for _ in range(cycles):
            await edge
            self.cycle += 1
            now = self.cycle * SECONDS_A_CYCLE
            if dut.bytes_out__ready.value == 1 and dut.bytes_out__valid.value == 1:
                came.append(int(dut.bytes_out__payload.value))
            turn = self.cycle % self.gap == 0
            dut.bytes_out__ready.value = turn
            dut.bytes_in__valid.value = bool(turn and self.line)
            if turn and self.line:
                dut.bytes_in__payload.value = self.line.pop(0)
            if self.cycle % 16 == 0:
                if came:
                    self.session.feed(self.up(bytes(came)), now)
                    came.clear()
                self.line += self.down(self.session.outgoing(now))
                assert self.session.failure is None, self.session.failure
                if until():
                    return
        raise AssertionError(f"not in {cycles} cycles")

    async def open(self) -> None:
        await self.run(lambda: self.session.welcome is not None)

    def send(self, words: list[int]) -> None:
        self.session.send(np.array(words, dtype=np.uint32))

    def taken(self) -> list[int]:
        """All words that have come."""
        return self.session.take(self.session.received_words).tolist()
