"""The device's end of the frame protocol (isa/frames.py), as hdl/link/frame_link.py builds it.

A model without a line and without a clock: bytes in, bytes out, words on the other side. It reads
byte by byte and shares no decoder with the host.
"""

import struct
import zlib
from collections import deque
from collections.abc import Iterable

from isa.frames import (
    DEVICE_RESEND_LIMIT,
    DEVICE_RESEND_SECONDS,
    ESCAPE,
    ESCAPE_XOR,
    FIRST_OF_SESSION,
    HEADER,
    HEADER_BYTES,
    HELLO_WORDS,
    MARK,
    MAXIMUM_WORDS,
    SEQUENCE_BITS,
    Frame,
    FrameType,
    Hello,
    Welcome,
    words_payload,
)

_NUMBERS = 1 << SEQUENCE_BITS


class DeviceLink:
    """One device's link. `sessions` counts openings: at each the device behind it is reset.

    The owner calls `receive` with bytes from the host, `transmit` for those to the host, `take` for
    words that the device consumes (until then they fill the receive buffer) and `put` for its own.
    """

    def __init__(self, hello: Hello, clock_hz: int = 25_000_000, receive_words: int = 512,
                 transmit_words: int = 512) -> None:  # fmt: skip
        self.hello, self.clock_hz = hello, clock_hz
        self.receive_words, self.transmit_words = receive_words, transmit_words
        self.sessions = 0
        self._piece = bytearray()
        self._escaped = self._broken = False
        self.power_cycle()

    def power_cycle(self) -> None:
        """Everything is forgotten, the session too."""
        self.session = 0
        self._welcome_due = self._lost_due = False
        self._begin()

    def _begin(self) -> None:
        self.to_device: deque[int] = deque()
        self._held: deque[int] = deque()  # from the device, not acknowledged
        self._expected = self._first = self._sent = 0  # word number; word number; words of _held
        self._status_due = self._missing = self._stalled = False
        self._gap: int | None = None  # words are missing; before the frame of this number
        self._echo = self._tries = 0
        self._patient_since: float | None = None

    # --- the device's side -----------------------------------------------------------------------

    def take(self, limit: int | None = None) -> list[int]:
        """Words for the device, oldest first."""
        count = len(self.to_device) if limit is None else min(limit, len(self.to_device))
        words = [self.to_device.popleft() for _ in range(count)]
        if self._stalled and len(self.to_device) <= self.receive_words // 2:
            self._stalled, self._missing, self._status_due = False, True, True
        return words

    def put(self, words: Iterable[int]) -> int:
        """Takes words from the device while there is room; how many."""
        if not self.session:
            return 0
        before = len(self._held)
        room = range(self.transmit_words - before)
        self._held.extend(word for _, word in zip(room, words, strict=False))
        return len(self._held) - before

    # --- the line --------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> None:
        """Bytes from the host."""
        for byte in data:
            if byte == MARK:
                if self._piece or self._escaped:
                    self._end(bytes(self._piece), self._escaped or self._broken, now)
                self._piece.clear()
                self._escaped = self._broken = False
            elif self._escaped:
                self._broken |= byte ^ ESCAPE_XOR not in (MARK, ESCAPE)
                self._piece.append(byte ^ ESCAPE_XOR)
                self._escaped = False
            elif byte == ESCAPE:
                self._escaped = True
            else:
                self._piece.append(byte)

    def transmit(self, now: float) -> bytes:
        """Bytes that go to the host now, one DATA frame at most; called again until there are none,
        as the line takes them."""
        frames = []
        if self._welcome_due:
            self._welcome_due = False
            hello = self.hello
            welcome = Welcome(hello.frame_version, self.session, hello.contract,
                              hello.configuration, hello.image, self.clock_hz, self.receive_words)
            frames.append(Frame(FrameType.WELCOME, payload=words_payload(welcome.words)))
        if self._lost_due:
            self._lost_due = False
            frames.append(Frame(FrameType.LOST))
        if self._status_due:
            kind = FrameType.NAK if self._missing else FrameType.ACK
            kind = FrameType.BUSY if self._stalled else kind
            frames.append(Frame(kind, self._echo, self._expected))
            self._status_due, self._missing, self._echo = False, False, 0
        frames += self._data(now)
        return b"".join(frame.encoded(self.session) for frame in frames)

    def _data(self, now: float) -> list[Frame]:
        if not self.session:
            return []
        if self._sent and self._tries < DEVICE_RESEND_LIMIT and self._patient_since is not None \
                and now - self._patient_since >= DEVICE_RESEND_SECONDS:
            self._sent, self._tries = 0, self._tries + 1
        count = min(len(self._held) - self._sent, MAXIMUM_WORDS, self.transmit_words // 2)
        if not count:
            return []
        words = [self._held[self._sent + i] for i in range(count)]
        sequence = (self._first + self._sent) % _NUMBERS
        self._sent += count
        self._patient_since = now
        return [Frame(FrameType.DATA, sequence, self._expected, words_payload(words))]

    def _end(self, piece: bytes, broken: bool, now: float) -> None:
        """A whole piece between two marks came: answers it where it is a frame of this session.

        broken: an escape in it was not one, so it cannot be right.
        """
        body, check = piece[:-4], piece[-4:]
        fields = HEADER.unpack(int.from_bytes(body[:HEADER_BYTES], "little"))
        whole = (not broken and len(body) >= HEADER_BYTES
                 and len(body) == HEADER_BYTES + 4 * fields["length"])
        difference = zlib.crc32(body) ^ int.from_bytes(check, "little")
        kind, payload = fields["type"], body[HEADER_BYTES:]
        if whole and difference == 0 and kind == FrameType.HELLO:
            words = struct.unpack(f"<{fields['length']}I", payload)
            if len(words) >= HELLO_WORDS and (number := words[1]):
                if number != self.session:
                    self.session, self._lost_due = number, False
                    self.sessions += 1
                    self._begin()
                self._welcome_due = True
                return
        if not self.session:
            self._lost_due = True
        elif not whole or difference != self.session or kind < FIRST_OF_SESSION:
            self._missing = self._status_due = True
        else:
            self._acknowledged(fields["acknowledge"], kind == FrameType.NAK, now)
            if kind == FrameType.POLL:
                self._status_due, self._echo = True, fields["sequence"]
            elif kind == FrameType.DATA:
                self._status_due = True
                self._accept(fields["sequence"], payload)

    def _accept(self, sequence: int, payload: bytes) -> None:
        """Takes the words of a DATA frame, unless there is no room or earlier ones are missing.

        Missing words are asked for once for each gap, not again for every later frame that shows
        the same gap.
        """
        ahead = (sequence - self._expected) % _NUMBERS
        words = struct.unpack(f"<{len(payload) // 4}I", payload)
        if ahead == 0:
            if len(words) > self.receive_words - len(self.to_device):
                self._stalled, self._gap = True, sequence
            else:
                self._gap = None
                self.to_device.extend(words)
                self._expected = (self._expected + len(words)) % _NUMBERS
        elif ahead < _NUMBERS // 2:
            further = None if self._gap is None else (sequence - self._gap) % _NUMBERS
            self._missing |= not further or further >= _NUMBERS // 2
            self._gap = sequence

    def _acknowledged(self, acknowledge: int, missing: bool, now: float) -> None:
        """Forgets the words that the host has; missing: the others are sent again at once."""
        self._tries = 0
        news = (acknowledge - self._first) % _NUMBERS
        if news > len(self._held):
            return
        if news:
            for _ in range(news):
                self._held.popleft()
            self._first, self._sent = acknowledge, max(self._sent - news, 0)
            self._patient_since = now
        if missing:
            self._sent = 0
