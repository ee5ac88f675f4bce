"""The host's end of the frame protocol (isa/frames.py), without a line and without a clock.

Whoever has a line feeds what comes from it, writes what is to go out, and gives the time; so
the same code talks to a board, to the virtual board and to channels made of faults.
"""

import struct
from collections import deque
from dataclasses import dataclass

import numpy as np

from host.transport.frames import FrameDecoder
from isa.frames import (
    FRAME_VERSION,
    HOST_WINDOW_WORDS,
    MAXIMUM_WORDS,
    SEQUENCE_BITS,
    Frame,
    FrameType,
    Welcome,
    words_payload,
)
from isa.registers import CONTRACT_VERSION, IDENTITY_MAGIC

HELLO_SECONDS = 0.25  # between two HELLO
FIRST_RESEND_SECONDS = 0.25  # without acknowledgement: POLL; then as long as answers usually take
RESEND_SECONDS = (0.03, 5.0)
BUSY_SECONDS = 0.1  # between two POLLs of a device that has no room
BURST_FRAMES = 2  # written at once
IDLE_SECONDS = 0.5  # without a frame from the device: POLL, to see whether it is still there
_NUMBERS = 1 << SEQUENCE_BITS


@dataclass
class _Segment:
    """Words on their way; `sent_at` only where they were sent once."""

    sequence: int
    payload: bytes
    sent_at: float | None = None
    tries: int = 0


class Session:
    """One session with a device. `number` is the session's, random, not 0.

    `patience`: seconds without any good frame after which the device counts as gone.
    `failure` says why the session ended, in one line; nothing is sent or taken then.
    """

    def __init__(self, number: int, now: float, patience: float = 5.0) -> None:
        if not 0 < number < 1 << 32:
            raise ValueError(f"session number {number} is not in 1..{(1 << 32) - 1}")
        self.number = number
        self.welcome: Welcome | None = None
        self.failure: str | None = None
        self.damaged = self.resent = 0  # frames: that came, that went out again
        self._patience = patience
        self._decoder = FrameDecoder()
        self._heard_at, self._hello_at = now, now
        self._bytes_came = False
        # To the device: waiting bytes, segments not acknowledged, how many of them are out.
        self._waiting: deque[memoryview] = deque()
        self._segments: deque[_Segment] = deque()
        self._out = 0
        self._next = 0  # number of the first waiting word
        self._busy = False
        self._progress_at = now
        self._deaf_until = now  # NAKs that come before are of what was sent before going back
        self._resend_seconds = FIRST_RESEND_SECONDS
        self._mean_seconds: float | None = None
        self._deviation = 0.0
        # POLL: its number while it is open, when it was sent, how long to wait for its answer.
        self._poll, self._polls = 0, 0
        self._poll_at, self._poll_seconds = now, 0.0
        self._poll_now = False
        # From the device.
        self._expected = 0
        self._gap: int | None = None  # words are missing; before the frame of this number
        self._answer: FrameType | None = None
        self._came = bytearray()
        self._lost = 0

    def fail(self, reason: str) -> None:
        """Ends the session, unless it has ended; the first reason stays."""
        self.failure = self.failure or reason

    # --- words -----------------------------------------------------------------------------------

    def send(self, words: np.ndarray) -> None:
        """Queues link words."""
        data = np.ascontiguousarray(words, dtype="<u4").tobytes()
        if data:
            self._waiting.append(memoryview(data))

    @property
    def unsent_words(self) -> int:
        """Words queued and not yet acknowledged."""
        return sum(map(len, self._waiting)) // 4 + self._flight_words

    @property
    def received_words(self) -> int:
        """Words that came and were not taken."""
        return len(self._came) // 4

    def take(self, count: int) -> np.ndarray:
        """The next `count` words, which must have come."""
        assert count <= self.received_words
        words = np.frombuffer(bytes(self._came[: 4 * count]), dtype="<u4").astype(np.uint32)
        del self._came[: 4 * count]
        return words

    # --- the line --------------------------------------------------------------------------------

    def feed(self, data: bytes, now: float) -> None:
        """Bytes that came from the device."""
        self._bytes_came |= bool(data)
        for frame in self._decoder.feed(data):
            if self.failure is None:
                self._frame(frame, now)

    def outgoing(self, now: float) -> bytes:
        """Bytes to write now, not many, so that an answer to what comes can overtake words.

        Called again until there are none, after every `feed` and `send`, and at `deadline`.
        """
        if self.failure is not None:
            return b""
        if self.welcome is None:
            return self._hello(now)
        self._watch(now)
        if self.failure is not None:
            return b""
        frames = []
        if self._poll_now:
            self._poll_now = False
            frames.append(Frame(FrameType.POLL, self._poll, self._expected))
        if not self._busy and not self._poll:
            while len(frames) < BURST_FRAMES and (segment := self._following()) is not None:
                if self._out == 0:
                    self._progress_at = now
                self._out += 1
                segment.sent_at = now if segment.tries == 0 else None
                self.resent += segment.tries > 0
                segment.tries += 1
                frames.append(Frame(FrameType.DATA, segment.sequence, self._expected,
                                    segment.payload))
        if self._answer is FrameType.NAK or self._answer and not frames:
            frames.insert(0, Frame(self._answer, 0, self._expected))
        self._answer = None
        return b"".join(frame.encoded(self.number) for frame in frames)

    def deadline(self, now: float) -> float:
        """The time by which `outgoing` has to be called."""
        if self.failure is not None:
            return now + IDLE_SECONDS
        if self.welcome is None:
            return self._hello_at
        if self._poll:
            return self._poll_at + self._poll_seconds
        times = [self._heard_at + IDLE_SECONDS]
        if self._busy:
            times.append(self._poll_at + BUSY_SECONDS)
        elif self._out:
            times.append(self._progress_at + self._resend_seconds)
        return min(times)

    # --- sending ---------------------------------------------------------------------------------

    @property
    def _flight_words(self) -> int:
        return sum(len(segment.payload) for segment in self._segments) // 4

    def _hello(self, now: float) -> bytes:
        if now - self._heard_at > self._patience:
            came = "nothing came: check power, cable and port, and that the bitstream is loaded"
            if self._bytes_came:
                came = "bytes came, but no frame: check the baud rate and what the bitstream is"
            self.failure = f"no Spikelet device answered in {self._patience:g} s; {came}"
        if self.failure is not None or now < self._hello_at:
            return b""
        self._hello_at = now + HELLO_SECONDS
        payload = words_payload([FRAME_VERSION, self.number])
        return Frame(FrameType.HELLO, payload=payload).encoded(0)

    def _watch(self, now: float) -> None:
        """POLL where an answer is overdue; failure where there was none for too long."""
        if self._poll:
            if now - self._heard_at > self._patience and now - self._poll_at > 0:
                self.failure = (f"the device has not answered for {self._patience:g} s: check its "
                                "power and the cable, then start again")
            elif now >= self._poll_at + self._poll_seconds:
                self._send_poll(now, 2 * self._poll_seconds)
        elif now >= self.deadline(now):
            self._send_poll(now, max(self._resend_seconds, FIRST_RESEND_SECONDS / 4))

    def _send_poll(self, now: float, wait: float) -> None:
        self._polls = self._polls % (_NUMBERS - 1) + 1
        self._poll, self._poll_now = self._polls, True
        self._poll_at, self._poll_seconds = now, min(wait, 1.0)

    def _following(self) -> _Segment | None:
        """The next segment to send: again, or made of waiting words as far as the window goes."""
        if self._out < len(self._segments):
            return self._segments[self._out]
        longest = min(MAXIMUM_WORDS, self.welcome.receive_words // 2)
        if not self._waiting or self._flight_words + longest > HOST_WINDOW_WORDS:
            return None
        payload = b""
        while self._waiting and len(payload) < 4 * longest:
            part = self._waiting.popleft()
            room = 4 * longest - len(payload)
            payload += part[:room]
            if len(part) > room:
                self._waiting.appendleft(part[room:])
        segment = _Segment(self._next, payload)
        self._next = (self._next + len(payload) // 4) % _NUMBERS
        self._segments.append(segment)
        return segment

    def _go_back(self, now: float) -> None:
        self._out, self._progress_at = 0, now
        self._deaf_until = now + (self._mean_seconds or 0.0) + self._deviation

    # --- what came -------------------------------------------------------------------------------

    def _frame(self, frame: Frame | None, now: float) -> None:
        if frame is None:
            self.damaged += 1
            if self.welcome is not None:
                self._answer = FrameType.NAK
        elif frame.type is FrameType.WELCOME:
            if self.welcome is None:
                self._welcomed(frame, now)
        elif self.welcome is None:
            return
        elif frame.type is FrameType.LOST:
            self._lost += 1
            if self._lost > 1:  # one alone may have been on its way since before this session
                self.failure = ("the device was reset in the middle of the session: its state is "
                                "lost; start again")
            elif not self._poll:
                self._send_poll(now, self._resend_seconds)
        elif frame.type >= FrameType.DATA:
            self._heard_at, self._lost = now, 0
            if frame.type is FrameType.DATA:
                self._data(frame)
            self._acknowledged(frame, now)

    def _welcomed(self, frame: Frame, now: float) -> None:
        words = list(struct.unpack(f"<{len(frame.payload) // 4}I", frame.payload))
        welcome = Welcome.of(words)
        if welcome.session != self.number:
            return
        flash = "build and flash the bitstream again (spikelet build, spikelet flash)"
        if welcome.magic != IDENTITY_MAGIC:
            self.failure = (f"this is no Spikelet device: it says 0x{welcome.magic:08x}, not "
                            f"0x{IDENTITY_MAGIC:08x}")
        elif welcome.frame_version != FRAME_VERSION:
            self.failure = (f"the bitstream speaks version {welcome.frame_version} of the link, "
                            f"this host version {FRAME_VERSION}: {flash}")
        elif welcome.contract != CONTRACT_VERSION:
            self.failure = (f"the bitstream was built for contract {welcome.contract}, this host "
                            f"is {CONTRACT_VERSION}: {flash}")
        self.welcome = welcome
        self._decoder.session = self.number
        self._heard_at = self._progress_at = now

    def _data(self, frame: Frame) -> None:
        known = (self._expected - frame.sequence) % _NUMBERS  # words of it that came before
        self._answer = self._answer or FrameType.ACK
        if known >= _NUMBERS // 2:
            # One NAK for a gap, another when the device has gone back and it is still there.
            further = None if self._gap is None else (frame.sequence - self._gap) % _NUMBERS
            if not further or further >= _NUMBERS // 2:
                self._answer = FrameType.NAK
            self._gap = frame.sequence
        elif 4 * known < len(frame.payload):
            news = frame.payload[4 * known :]
            self._came += news
            self._gap = None
            self._expected = (self._expected + len(news) // 4) % _NUMBERS

    def _acknowledged(self, frame: Frame, now: float) -> None:
        """What every frame of the session says about the words that were sent."""
        progress = self._drop_acknowledged(frame.acknowledge, now)
        if progress:
            self._progress_at = self._deaf_until = now
        if frame.type is FrameType.DATA:
            return
        polled = frame.sequence and frame.sequence == self._poll
        if polled:
            self._measure(now - self._poll_at)
            self._poll, self._poll_now = 0, False
        self._busy = frame.type is FrameType.BUSY
        if self._busy:
            self._go_back(now)
            self._poll_at = now
        elif polled or frame.type is FrameType.NAK and now >= self._deaf_until:
            # The line keeps the order: what was sent before the POLL and is not here was lost.
            self._go_back(now)

    def _drop_acknowledged(self, acknowledge: int, now: float) -> bool:
        """Forgets the segments that have arrived; whether there were any."""
        if not self._segments:
            return False
        news = (acknowledge - self._segments[0].sequence) % _NUMBERS
        if not 0 < news <= self._flight_words:
            return False
        while news > 0:
            segment = self._segments.popleft()
            news -= len(segment.payload) // 4
            self._out = max(self._out - 1, 0)
            if segment.sent_at is not None:
                self._measure(now - segment.sent_at)
        return True

    def _measure(self, seconds: float) -> None:
        """Smoothed time of an answer and its deviation (RFC 6298)."""
        if self._mean_seconds is None:
            self._mean_seconds, self._deviation = seconds, seconds / 2
        else:
            off = abs(seconds - self._mean_seconds)
            self._deviation += (off - self._deviation) / 4
            self._mean_seconds += (seconds - self._mean_seconds) / 8
        low, high = RESEND_SECONDS
        self._resend_seconds = min(max(self._mean_seconds + 4 * self._deviation, low), high)
