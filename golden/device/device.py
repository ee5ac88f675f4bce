"""The golden device: executes the same program bytes, behind the same link words, as the hardware.

It is the definition of the instruction set. Time does not pass in it: counters of cycles and
stalls stay 0, all other counters are exact.
"""

from collections import deque
from collections.abc import Iterator

import numpy as np

from golden.device.execute import Executor
from golden.device.machine import Write
from golden.device.memories import Memories
from isa.configurations import Configuration
from isa.external import PART, PART_WORDS
from isa.instructions import INSTRUCTION_LINK_WORDS, RECORDS, Opcode
from isa.packets import HEADER, HEADER_WORDS, Fault, Kind, RunFlag, Space
from isa.registers import Stop

ALLOWED = {
    Kind.WRITE: set(Space) - {Space.VECTOR},
    Kind.READ: {Space.ROW, Space.VECTOR, Space.REGISTER, Space.EXTERNAL},
    Kind.STREAM: {Space.ROW, Space.PARAMETER},
}
IDLE_ONLY = {
    (Kind.READ, Space.ROW), (Kind.READ, Space.VECTOR), (Kind.READ, Space.EXTERNAL),
    (Kind.WRITE, Space.EXTERNAL),
}  # fmt: skip


class GoldenDevice:
    """A device of one configuration: `send` link words to it, `receive` its answers.

    A packet may be split over any number of `send` calls. A run that waits for streamed data goes
    on when the data is sent. `trace`, when it is not None, collects every vector that a run writes
    and the codes of every key and value.
    """

    checked = False
    """Whether a new device holds every access of its instructions against isa/effects.py. The tests
    do; it takes half as long again."""

    def __init__(self, configuration: Configuration) -> None:
        self.memories = Memories(configuration)
        self.c = configuration
        self.executor = Executor(self.memories, self._take, self._send_logits, self.checked)
        self.position = 0
        self._input = np.zeros(0, dtype=np.uint32)
        self._output: list[np.ndarray] = []
        self._ring: dict[Space, deque[np.ndarray]] = {
            Space.ROW: deque(),
            Space.PARAMETER: deque(),
        }
        self._pointer = dict.fromkeys(self._ring, 0)
        self._run: Iterator[None] | None = None
        self._stop = self._logits = False

    # ---- link -------------------------------------------------------------------------------

    def send(self, words: np.ndarray) -> None:
        """Takes link words; executes what they complete."""
        self._input = np.concatenate([self._input, np.asarray(words, dtype=np.uint32)])
        while len(self._input) >= HEADER_WORDS:
            raw = self._input[:HEADER_WORDS].tolist()
            header = HEADER.unpack(raw[0] | raw[1] << 32 | raw[2] << 64)
            payload = 0 if header["kind"] == Kind.READ else header["length"]
            if len(self._input) < HEADER_WORDS + payload:
                return
            words = self._input[HEADER_WORDS : HEADER_WORDS + payload]
            self._input = self._input[HEADER_WORDS + payload :]
            self._packet(header, words)
            self._advance()

    def receive(self) -> np.ndarray:
        """The words that the device has sent; a run goes on to its next token for more.

        Empty when nothing comes until the host sends something.
        """
        if not self._output:
            self._advance()
        words = np.concatenate([np.zeros(0, np.uint32), *self._output])
        self._output.clear()
        return words

    def _emit(self, kind: Kind, value: int, payload=(), flags: int = 0) -> None:
        payload = np.asarray(payload, dtype=np.int64).astype(np.uint32)
        packed = HEADER.pack(kind=kind, flags=flags & 0xFFFF, value=value, length=len(payload))
        head = [packed >> 32 * i & 0xFFFFFFFF for i in range(HEADER_WORDS)]
        self._output.append(np.concatenate([np.array(head, dtype=np.uint32), payload]))

    def _packet(self, header: dict[str, int], words: np.ndarray) -> None:
        kind, space, value = header["kind"], header["space"], header["value"]
        if kind not in (Kind.WRITE, Kind.READ, Kind.STREAM, Kind.RUN, Kind.STOP):
            self._emit(Kind.ERROR, Fault.UNKNOWN_KIND)
        elif kind == Kind.STOP:
            self._stop = True
        elif kind == Kind.RUN:
            self._start(header, words)
        elif space not in ALLOWED[Kind(kind)] or (
            space == Space.EXTERNAL and not self.c.external_words
        ):
            self._emit(Kind.ERROR, Fault.UNKNOWN_SPACE)
        elif (kind, space) in IDLE_ONLY and self._run is not None:
            self._emit(Kind.ERROR, Fault.RUN_BUSY)
        elif kind == Kind.WRITE:
            self.memories.write(Space(space), value, words)
        elif kind == Kind.READ:
            self._emit(Kind.DATA, value, self.memories.read(Space(space), value, header["length"]))
        else:
            self._stream(Space(space), words)

    def _stream(self, space: Space, words: np.ndarray) -> None:
        c = self.c
        each = c.cores * c.lanes // 4 if space is Space.ROW else c.vector_lanes // 2
        entries = words[: len(words) // each * each].reshape(-1, each)
        self._ring[space].extend(entries)
        if space is Space.ROW:
            self.memories.counters["rows_streamed"] += len(entries)

    def _play(self, skip_head: bool) -> None:
        """Streams the weights of a position from external memory into the rings
        (isa/external.py): the token's piece, the body and, where it runs, the head."""
        s, counters = self.executor.settings, self.memories.counters
        each = s["external_embedding_words"]
        pieces = [(s["external_embedding"] + self.executor.token * each, each),
                  (s["external_body"], s["external_body_words"])]  # fmt: skip
        if not skip_head:
            pieces.append((s["external_head"], s["external_head_words"]))
        for first, count in pieces:
            words = self.memories.read(Space.EXTERNAL, first, count)
            counters["external_words_read"] += count
            at = 0
            while at < count:
                part = PART.unpack(int(words[at]))
                at += PART_WORDS + part["length"]
                self._part(part, words[at - part["length"] : at])

    def _part(self, part: dict[str, int], words: np.ndarray) -> None:
        c = self.c
        if part["parameter"]:
            self._stream(Space.PARAMETER, words)
            return
        each, cores = part["row_words"] + 1, 1 if part["one_core"] else c.cores
        rows = np.zeros((len(words) // each // cores, c.cores, c.lanes // 4), dtype=np.uint32)
        rows[:, :cores, :each] = words[: rows.shape[0] * cores * each].reshape(-1, cores, each)
        self._stream(Space.ROW, rows.reshape(-1))

    def _take(self, space: Space, count: int) -> Iterator[None]:
        """Waits for `count` streamed entries and returns the address of the first.

        All are put at the beginning of the ring. In the hardware they lie anywhere in it and may
        wrap, but a result depends on their values only.
        """
        ring = self._ring[space]
        while len(ring) < count:
            yield
        name = "row" if space is Space.ROW else "parameter"
        base = self.executor.settings[f"{name}_ring_base"]
        each = len(ring[0])
        words = np.concatenate([ring.popleft() for _ in range(count)])
        self.memories.write(space, base * each, words)
        return base

    def _send_logits(self, logits: np.ndarray) -> None:
        if self._logits:
            self._emit(Kind.LOGITS, len(logits), logits)

    # ---- sequencer --------------------------------------------------------------------------

    @property
    def trace(self) -> list[Write] | None:
        return self.executor.trace

    @trace.setter
    def trace(self, value: list[Write] | None) -> None:
        self.executor.trace = value

    def _start(self, header: dict[str, int], prompt: np.ndarray) -> None:
        if self._run is not None:
            self._emit(Kind.ERROR, Fault.RUN_BUSY)
        elif not 1 <= len(prompt) <= self.c.context:
            self._emit(Kind.ERROR, Fault.PROMPT_TOO_LONG)
        else:
            if header["flags"] & RunFlag.RESET:
                self.position = 0
            self._logits = bool(header["flags"] & RunFlag.LOGITS)
            self._stop = False
            self._run = self._generate([int(t) for t in prompt], header["value"])

    def _advance(self) -> None:
        """Lets a run go on until it ends or waits for the link."""
        if self._run is not None:
            try:
                next(self._run)
            except StopIteration:
                self._run = None

    def _generate(self, prompt: list[int], count: int) -> Iterator[None]:
        x = self.executor
        x.begin()
        settings = x.settings
        pending, made = deque(prompt), 0
        while True:
            if self.position >= settings["context"]:
                reason = Stop.CONTEXT_FULL
                break
            x.token, x.position = pending.popleft(), self.position
            if settings["external_enable"]:
                self._play(skip_head=bool(pending))
            yield from self._token(skip_head=bool(pending))
            self.position += 1
            self.memories.counters["tokens"] += 1
            if not pending:
                self._emit(Kind.TOKEN, x.next_token, flags=x.position)
                made += 1
                pending.append(x.next_token)
                if settings["end_token_enable"] and x.next_token == settings["end_token"]:
                    reason = Stop.END_TOKEN
                    break
                if made >= count:
                    reason = Stop.COUNT
                    break
                yield  # the host may read the token before the next one is made
            if self._stop:
                reason = Stop.STOPPED
                break
        self._emit(Kind.DONE, reason)

    def _token(self, skip_head: bool) -> Iterator[None]:
        x, program = self.executor, self.memories.link[Space.PROGRAM]
        x.tiles.clear()
        for pc in range(self.c.program_depth):
            raw = program[pc * INSTRUCTION_LINK_WORDS :][:INSTRUCTION_LINK_WORDS].tolist()
            word = sum(w << 32 * i for i, w in enumerate(raw))
            opcode = word & 0xF
            if opcode not in RECORDS or opcode == Opcode.END:  # what is no instruction ends too
                return
            if opcode == Opcode.HEAD and skip_head:
                return
            fields = RECORDS[Opcode(opcode)].unpack(word)
            yield from x.execute(pc, fields)
