"""The host's end of the frame protocol (isa/frames.py), without a line and without a clock.

The caller owns the line. It feeds the bytes that come in, writes the bytes that are to go out, and
tells the time with every call. So the same code talks to a board, to the virtual board, and in
tests to channels that damage and lose bytes.

The protocol is go-back-N: the device acknowledges words in order, and after a loss the host sends
again everything that is not acknowledged.
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
# Without an acknowledgement for this long, POLL asks what has arrived. Once answers have come, the
# time is adapted to how long they take, within the limits of RESEND_SECONDS.
FIRST_RESEND_SECONDS = 0.25
RESEND_SECONDS = (0.03, 5.0)
BUSY_SECONDS = 0.1  # between two POLLs of a device that has no room
BURST_FRAMES = 2  # that are written at once
IDLE_SECONDS = 0.5  # without a frame from the device: POLL, to see whether it is still there
_NUMBERS = 1 << SEQUENCE_BITS  # sequence numbers count words and wrap here


@dataclass
class _Segment:
    """The words of one DATA frame, kept until they are acknowledged.

    `sent_at` is None once they were sent twice: an answer would not tell which of the two arrived.
    """

    sequence: int
    payload: bytes
    sent_at: float | None = None
    tries: int = 0


class Session:
    """One session with a device, from HELLO on.

    `failure` is None until the session ends; then it says why, in one line, and nothing is sent or
    taken any more. `damaged` and `resent` count frames.

    Args:
        number: of the session, random and not 0.
        now: the present time in seconds, on the same clock as in all other calls.
        patience: seconds without any good frame after which the device counts as gone.
    """

    def __init__(self, number: int, now: float, patience: float = 5.0) -> None:
        if not 0 < number < 1 << 32:
            raise ValueError(f"session number {number} is not in 1..{(1 << 32) - 1}")
        self.number = number
        self.welcome: Welcome | None = None
        self.failure: str | None = None
        self.damaged = self.resent = 0
        self._patience = patience
        self._decoder = FrameDecoder()
        self._heard_at, self._hello_at = now, now
        self._bytes_came = False
        # To the device: bytes that are in no segment yet, segments that are not acknowledged, and
        # how many of these have been sent since the last time of going back.
        self._waiting: deque[memoryview] = deque()
        self._segments: deque[_Segment] = deque()
        self._out = 0
        self._next = 0  # sequence number of the first waiting word
        self._busy = False
        self._progress_at = now
        self._deaf_until = now  # earlier NAKs answer frames from before the host went back
        self._resend_seconds = FIRST_RESEND_SECONDS
        self._mean_seconds: float | None = None
        self._deviation = 0.0
        # The open POLL: its number or 0, when it was sent, and how long to wait for its answer.
        self._poll, self._polls = 0, 0
        self._poll_at, self._poll_seconds = now, 0.0
        self._poll_now = False
        # From the device: the sequence number of the next word, what to answer, and words to take.
        self._expected = 0
        self._gap: int | None = None  # words are missing before the frame with this number
        self._answer: FrameType | None = None
        self._came = bytearray()
        self._lost = 0

    def fail(self, reason: str) -> None:
        """Ends the session for this reason, unless it has ended already."""
        self.failure = self.failure or reason

    # --- words -----------------------------------------------------------------------------------

    def send(self, words: np.ndarray) -> None:
        """Queues link words; `outgoing` gives them out as the device takes them."""
        data = np.ascontiguousarray(words, dtype="<u4").tobytes()
        if data:
            self._waiting.append(memoryview(data))

    @property
    def unsent_words(self) -> int:
        """Words queued and not yet acknowledged."""
        return sum(map(len, self._waiting)) // 4 + self._flight_words

    @property
    def received_words(self) -> int:
        """Words that have come and have not been taken yet."""
        return len(self._came) // 4

    def take(self, count: int) -> np.ndarray:
        """The next `count` words, of which at least as many must have come."""
        assert count <= self.received_words
        words = np.frombuffer(bytes(self._came[: 4 * count]), dtype="<u4").astype(np.uint32)
        del self._came[: 4 * count]
        return words

    # --- the line --------------------------------------------------------------------------------

    def feed(self, data: bytes, now: float) -> None:
        """Takes bytes that came from the device."""
        self._bytes_came |= bool(data)
        for frame in self._decoder.feed(data):
            if self.failure is None:
                self._frame(frame, now)

    def outgoing(self, now: float) -> bytes:
        """The bytes to write now.

        They are few at a time, so that an answer need not wait behind many words. Call it after
        every `feed` and `send` and at `deadline`, each time until it gives no bytes.
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
        """The time by which `outgoing` has to be called again."""
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
        """Asks with POLL where an answer is overdue, and fails where the device is gone."""
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
        """The next segment to send; None where there is none or the window is full.

        Segments that have to be sent again come first, then new ones of waiting words.
        """
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
        """Begins again with the first segment that is not acknowledged."""
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
            if self._lost > 1:  # a single one may be left from before this session
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
        known = (self._expected - frame.sequence) % _NUMBERS  # words of the frame that came before
        self._answer = self._answer or FrameType.ACK
        if known >= _NUMBERS // 2:
            # One NAK for each gap; another if the device has gone back and the gap is still there.
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
        """Learns from a frame which words have arrived and whether to send some again."""
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
            # The line keeps the order: words from before the POLL that have not arrived are lost.
            self._go_back(now)

    def _drop_acknowledged(self, acknowledge: int, now: float) -> bool:
        """Forgets the segments that have arrived, and says whether any word has."""
        if not self._segments:
            return False
        news = (acknowledge - self._segments[0].sequence) % _NUMBERS
        if not 0 < news <= self._flight_words:
            return False
        while self._segments and news >= len(self._segments[0].payload) // 4:
            segment = self._segments.popleft()
            news -= len(segment.payload) // 4
            self._out = max(self._out - 1, 0)
            if segment.sent_at is not None:
                self._measure(now - segment.sent_at)
        return True

    def _measure(self, seconds: float) -> None:
        """Adapts the time to resend to that of an answer, as TCP does (RFC 6298)."""
        if self._mean_seconds is None:
            self._mean_seconds, self._deviation = seconds, seconds / 2
        else:
            off = abs(seconds - self._mean_seconds)
            self._deviation += (off - self._deviation) / 4
            self._mean_seconds += (seconds - self._mean_seconds) / 8
        low, high = RESEND_SECONDS
        self._resend_seconds = min(max(self._mean_seconds + 4 * self._deviation, low), high)
