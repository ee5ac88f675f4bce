"""Frames: how link words cross a serial line that loses, changes and invents bytes.

On the line: MARK, body, CRC-32, MARK. Between two marks the byte ESCAPE says that the next byte was
XORed with 0x20; so neither MARK nor ESCAPE occurs there by chance, and a receiver is back in step
at the next mark (the byte stuffing of HDLC, RFC 1662). No other byte is stuffed. The body is the
header and `length` words, low byte first. The CRC is the CRC-32 of zlib over the body; in frames
that belong to a session it is XORed with the session number, so that a frame of another session is
never taken for one of this.

The host opens a session with HELLO: the number that it chose becomes the device's session, both
directions begin at word 0, and the device behind the link is reset. WELCOME answers, and answers
again where HELLO is repeated. A device without a session answers anything else with LOST.

Words are numbered modulo 2**16 in each direction. DATA carries words from number `sequence` on, and
a receiver takes them when that is the number it expects and there is room for all. Every frame of a
session carries in `acknowledge` the number that its sender expects next. What is not acknowledged
is sent again: after NAK, when an answer to POLL shows that it was lost, or after a time.
"""

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

from isa.record import Field, Record
from isa.registers import CONTRACT_VERSION, IDENTITY_MAGIC

FRAME_VERSION = 1  # of everything here but HELLO and the first three words of WELCOME: they stay
MARK = 0x7E
ESCAPE = 0x7D
ESCAPE_XOR = 0x20
CRC_POLYNOMIAL = 0xEDB88320  # reflected

HEADER = Record(
    "frame_header",
    "Every frame begins with these six bytes, low byte first.",
    (
        Field("type", 8, "what the frame is"),
        Field("length", 8, "payload words"),
        Field("sequence", 16, "DATA: number of the first word; POLL: any number but 0, which the "
                              "answer has too; else 0"),
        Field("acknowledge", 16, "number of the word that the sender expects next"),
    ),
)
HEADER_BYTES = HEADER.bits // 8
HEADER_STRUCT = struct.Struct("<BBHH")
CHECK_BYTES = 4

MAXIMUM_WORDS = 128  # of a DATA frame
SEQUENCE_BITS = 16
HOST_WINDOW_WORDS = 1024  # that the host sends ahead of the device's acknowledgement
BAUD = 3_000_000  # where a board names no other
DEVICE_RESEND_SECONDS = 0.05  # words not acknowledged so long are sent again by the device
DEVICE_RESEND_LIMIT = 20  # times, then it waits until it hears from the host


class FrameType(IntEnum):
    """Below 0x10: outside sessions. Only these have a payload: HELLO, WELCOME, DATA."""

    HELLO = 0x01  # host: FRAME_VERSION, session number (not 0)
    WELCOME = 0x02  # device: the words of `Welcome`
    LOST = 0x03  # device: no session is open
    DATA = 0x10  # both
    ACK = 0x11  # both: an answer to DATA or POLL
    NAK = 0x12  # both: the same, and words are missing before those that came
    BUSY = 0x13  # device: the same, and there was no room; NAK follows when there is
    POLL = 0x14  # host: answer at once


FIRST_OF_SESSION = FrameType.DATA
HELLO_WORDS = 2
WELCOME_FIELDS = (
    ("magic", "0x53504B4C, 'SPKL'"),
    ("frame_version", "version of these frames"),
    ("session", "the number that HELLO gave"),
    ("contract", "contract version"),
    ("configuration", "CRC-32 of the configuration's canonical text"),
    ("image", "CRC-32 of the model image in the bitstream; 0: none"),
    ("clock_hz", "clock frequency"),
    ("receive_words", "words that the device's receive buffer holds"),
)


@dataclass(frozen=True)
class Hello:
    """What a device says of itself: configuration identity, checksum of a preloaded image or 0."""

    configuration: int
    image: int = 0
    contract: int = CONTRACT_VERSION
    frame_version: int = FRAME_VERSION


@dataclass(frozen=True)
class Welcome:
    """The payload of WELCOME."""

    frame_version: int
    session: int
    contract: int
    configuration: int
    image: int
    clock_hz: int
    receive_words: int
    magic: int = IDENTITY_MAGIC

    @property
    def words(self) -> list[int]:
        return [getattr(self, name) for name, _ in WELCOME_FIELDS]

    @staticmethod
    def of(words: list[int]) -> "Welcome":
        """Of at least the first three words; those that another version lacks are 0."""
        words = [*words, *[0] * len(WELCOME_FIELDS)]
        return Welcome(**{name: word for (name, _), word in zip(WELCOME_FIELDS, words,
                                                                strict=False)})


@dataclass(frozen=True)
class Frame:
    """A frame, not yet on the line; payload: whole words, low byte first."""

    type: FrameType
    sequence: int = 0
    acknowledge: int = 0
    payload: bytes = b""

    @property
    def body(self) -> bytes:
        """Header and payload."""
        return HEADER_STRUCT.pack(self.type, len(self.payload) // 4, self.sequence,
                                  self.acknowledge) + self.payload

    def encoded(self, session: int) -> bytes:
        """The bytes on the line, both marks included."""
        body = self.body
        check = zlib.crc32(body) ^ (session if self.type >= FIRST_OF_SESSION else 0)
        return bytes([MARK]) + stuffed(body + struct.pack("<I", check)) + bytes([MARK])


_MARK, _ESCAPE = bytes([MARK]), bytes([ESCAPE])
_MARK_STUFFED = bytes([ESCAPE, MARK ^ ESCAPE_XOR])
_ESCAPE_STUFFED = bytes([ESCAPE, ESCAPE ^ ESCAPE_XOR])


def stuffed(data: bytes) -> bytes:
    """`data` without MARK and without unpaired ESCAPE."""
    return data.replace(_ESCAPE, _ESCAPE_STUFFED).replace(_MARK, _MARK_STUFFED)


def words_payload(words: list[int]) -> bytes:
    """A payload of 32-bit words."""
    return struct.pack(f"<{len(words)}I", *words)
