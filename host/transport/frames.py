"""The host's frame decoder: finds the frames (isa/frames.py) in a stream of bytes.

The bytes may be damaged, or not be frames at all: a frame counts only where its check is right.
"""

import struct
import zlib

from isa.frames import (
    CHECK_BYTES,
    ESCAPE,
    ESCAPE_XOR,
    FIRST_OF_SESSION,
    HEADER_BYTES,
    HEADER_STRUCT,
    MARK,
    Frame,
    FrameType,
)

_MARK, _ESCAPE = bytes([MARK]), bytes([ESCAPE])
_LONGEST = 2 * (HEADER_BYTES + 4 * 255 + CHECK_BYTES)  # bytes between two marks, if each is escaped
_ESCAPED = {MARK ^ ESCAPE_XOR: _MARK, ESCAPE ^ ESCAPE_XOR: _ESCAPE}


class FrameDecoder:
    """Finds frames in a byte stream.

    `session` is the number of the session whose frames are accepted. With 0 only frames that belong
    to no session are accepted, such as WELCOME.
    """

    def __init__(self, session: int = 0) -> None:
        self.session = session
        self._rest = b""  # bytes behind the last mark: the beginning of a frame
        self._broken = False  # the present frame is too long already

    def feed(self, data: bytes) -> list[Frame | None]:
        """The frames that these bytes complete, in order.

        None stands for a damaged frame, and for one of another session.
        """
        *pieces, rest = (self._rest + data).split(_MARK)
        frames = []
        for piece in pieces:
            if piece or self._broken:
                frames.append(None if self._broken else self._frame(piece))
            self._broken = False
        self._broken |= len(rest) > _LONGEST
        self._rest = b"" if self._broken else rest
        return frames

    def _frame(self, piece: bytes) -> Frame | None:
        """The frame whose bytes lie between two marks; None where its length or check is wrong."""
        data = _unstuffed(piece)
        if data is None or len(data) < HEADER_BYTES + CHECK_BYTES:
            return None
        body = data[:-CHECK_BYTES]
        (check,) = struct.unpack_from("<I", data, len(body))
        kind, length, sequence, acknowledge = HEADER_STRUCT.unpack_from(body)
        inside = kind >= FIRST_OF_SESSION
        if len(body) != HEADER_BYTES + 4 * length or inside and not self.session:
            return None
        if zlib.crc32(body) ^ check != (self.session if inside else 0):
            return None
        try:
            return Frame(FrameType(kind), sequence, acknowledge, body[HEADER_BYTES:])
        except ValueError:  # a type that only a later version knows
            return None


def _unstuffed(piece: bytes) -> bytes | None:
    """The bytes without their escapes; None where an escape stands before no byte that needs it."""
    first, *others = piece.split(_ESCAPE)
    if any(not part or part[0] not in _ESCAPED for part in others):
        return None
    return first + b"".join(_ESCAPED[part[0]] + part[1:] for part in others)
