"""A scripted device behind the link: an arithmetic rule instead of a model, to test the driver.

The next token is (3 * token + position + 1) % vocab; its logits peak there. It checks what a
device would check, and records what was written and streamed.
"""

from collections import deque

import numpy as np

from host.transport import Transport
from host.transport.packets import packet
from isa.configurations import CONFIGURATIONS, Configuration
from isa.errors import SpikeletError
from isa.image import Image, Section, Stream
from isa.packets import HEADER, HEADER_WORDS, Fault, Kind, RunFlag, Space
from isa.registers import CONTRACT_VERSION, IDENTITY_MAGIC, REGISTERS, Stop

TINY = CONFIGURATIONS["tiny"]
VOCAB = 23


def next_token(token: int, position: int) -> int:
    return (3 * token + position + 1) % VOCAB


def image(streamed: bool = False, context: int = 32, end_token: int | None = None) -> Image:
    """An image of the rule's sizes; the words of streamed rows tell what they are."""
    settings = {"context": context, "epsilon_shift": -2}
    if end_token is not None:
        settings |= {"end_token": end_token, "end_token_enable": 1}
    rows = np.arange(VOCAB, dtype=np.uint32)[:, None] + np.full((1, 4), 1000, np.uint32)
    stream = Stream(
        embedding=rows,
        body=[(Space.ROW, np.full(8, 2000, np.uint32)), (Space.PARAMETER, np.full(2, 3000))],
        head=[(Space.ROW, np.full(4, 4000, np.uint32))],
    )
    model = {"dim": 16, "vocab": VOCAB, "context": context, "fraction": 8,
             "weights": "streamed" if streamed else "resident", "schedule": "phase"}
    sections = [Section(Space.PROGRAM, 6, np.arange(40_000, dtype=np.uint32)),
                Section(Space.SCHEDULE, 0, np.arange(8, dtype=np.uint32))]
    return Image(TINY.name, TINY.identity, model, settings, sections, stream if streamed else None)


class FakeDevice(Transport):
    """Answers like a device. `streamed`: it waits for the rows of every position."""

    def __init__(self, streamed: bool = False, configuration: Configuration = TINY) -> None:
        self.streamed = streamed
        self.registers = np.zeros(0x100, dtype=np.uint32)
        for name, value in (("magic", IDENTITY_MAGIC), ("contract", CONTRACT_VERSION),
                            ("configuration", configuration.identity)):
            self.registers[REGISTERS[name].address] = value
        self.written: dict[Space, dict[int, np.ndarray]] = {}
        self.runs: list[tuple[list[int], int, int]] = []
        self.streams: deque[tuple[Space, np.ndarray]] = deque()
        self.position = 0
        self.stop = False
        self._run = None
        self._input, self._output = np.zeros(0, np.uint32), np.zeros(0, np.uint32)

    def setting(self, name: str) -> int:
        return int(self.registers[REGISTERS[name].address])

    def send(self, words: np.ndarray) -> None:
        assert words.dtype == np.uint32
        self._input = np.concatenate([self._input, words])

    def receive(self, count: int) -> np.ndarray:
        while self._output.size < count:
            if self._run is not None and self._step():
                continue
            if not self._packet():
                raise SpikeletError("the fake device waits")
        words, self._output = self._output[:count], self._output[count:]
        return words

    def _emit(self, kind: Kind, value: int, payload=(), flags: int = 0) -> None:
        payload = np.asarray(payload, dtype=np.int64).astype(np.uint32)
        words = packet(kind, flags=flags, value=int(value), payload=payload)
        self._output = np.concatenate([self._output, words])

    def _packet(self) -> bool:
        """Takes one packet."""
        if self._input.size < HEADER_WORDS:
            return False
        raw = self._input[:HEADER_WORDS].tolist()
        head = HEADER.unpack(sum(word << 32 * i for i, word in enumerate(raw)))
        size = 0 if head["kind"] == Kind.READ else head["length"]
        payload = self._input[HEADER_WORDS : HEADER_WORDS + size]
        assert payload.size == size
        self._input = self._input[HEADER_WORDS + size :]
        kind, space, value = head["kind"], Space(head["space"]), head["value"]
        if kind == Kind.WRITE and space is Space.REGISTER:
            self.registers[value : value + size] = payload
        elif kind == Kind.WRITE:
            self.written.setdefault(space, {})[value] = payload
        elif kind == Kind.READ:
            self._emit(Kind.DATA, value, self.registers[value : value + head["length"]])
        elif kind == Kind.STREAM:
            self.streams.append((space, payload))
        elif kind == Kind.STOP:
            self.stop = True
        elif self._run is not None:
            self._emit(Kind.ERROR, Fault.RUN_BUSY)
        else:
            self.runs.append((payload.tolist(), value, head["flags"]))
            if head["flags"] & RunFlag.RESET:
                self.position = 0
            self.stop = False
            self._run = self._generate(payload.tolist(), value, head["flags"])
        return True

    def _step(self) -> bool:
        """Lets the run go on; False when it waits for streamed rows."""
        try:
            return next(self._run)
        except StopIteration:
            self._run = None
            return True

    def _expect(self, space: Space, first: int):
        while not self.streams:
            yield False
        found, payload = self.streams.popleft()
        assert (found, payload[0]) == (space, first), (found, payload[0], space, first)

    def _generate(self, prompt: list[int], count: int, flags: int):
        pending, made = deque(prompt), 0
        reason = None
        while reason is None:
            token = pending.popleft()
            if self.streamed:
                yield from self._expect(Space.ROW, 1000 + token)
                yield from self._expect(Space.ROW, 2000)
                yield from self._expect(Space.PARAMETER, 3000)
                if not pending:
                    yield from self._expect(Space.ROW, 4000)
            self.registers[REGISTERS["tokens"].address] += 1
            self.registers[REGISTERS["cycles"].address] += np.uint32(100)
            at, self.position = self.position, self.position + 1
            assert self.position <= self.setting("context")
            if not pending:
                new = next_token(token, at)
                if flags & RunFlag.LOGITS:
                    logits = -np.abs(np.arange(VOCAB) - new) * 256
                    self._emit(Kind.LOGITS, VOCAB, [*logits, 99])  # a payload may be padded
                self._emit(Kind.TOKEN, new, flags=at)
                made += 1
                pending.append(new)
                yield True
                if self.setting("end_token_enable") and new == self.setting("end_token"):
                    reason = Stop.END_TOKEN
                elif made == count:
                    reason = Stop.COUNT
                elif self.position >= self.setting("context"):
                    reason = Stop.CONTEXT_FULL
            while self._packet():  # STOP may have come meanwhile
                pass
            if reason is None and self.stop:
                reason = Stop.STOPPED
        self._emit(Kind.DONE, reason)
