"""Bytes that hold no frame that was sent: noise, and real frames cut, flipped and spliced."""

import random

from isa.frames import ESCAPE, MARK, Frame, FrameType, words_payload

_SPECIAL = bytes([MARK, ESCAPE, 0x5E, 0x5D, 0, 1, 0x10, 0xFF])


def garbage(rng: random.Random, session: int, count: int) -> bytes:
    """At least `count` bytes. What is damaged would be good: it is of this session, and in turn."""
    sent: set[bytes] = set()

    def frame() -> bytes:
        payload = rng.randbytes(4 * rng.choice((1, 2, 3, 20, 128)))
        kinds = (Frame(FrameType.DATA, 0, 0, payload), Frame(FrameType.POLL, 7, 0),
                 Frame(FrameType.LOST),
                 Frame(FrameType.HELLO, payload=words_payload([1, rng.getrandbits(32)])))
        data = rng.choices(kinds, (8, 1, 1, 1))[0].encoded(session)
        sent.add(data[1:-1])
        return data

    def flipped(data: bytes) -> bytes:
        data = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 3, 4, 8, 40))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        return bytes(data)

    def inside(data: bytes) -> int:
        return rng.randrange(1, len(data) - 1)

    def piece() -> bytes:
        kind = rng.randrange(9)
        data = frame()
        at, end = sorted((inside(data), inside(data)))
        if kind == 0:
            return rng.randbytes(rng.randrange(1, 600))
        if kind == 1:
            return bytes(rng.choices(_SPECIAL, k=rng.randrange(1, 40)))
        if kind == 2:
            return data[:at]
        if kind == 3:
            return data[at:]
        if kind == 4:
            return data[:at] + frame()[at:]
        if kind == 5:
            return data[:at] + data[end:]
        if kind == 6:
            return data[:at] + rng.randbytes(rng.randrange(1, 4)) + data[at:]
        if kind == 7:  # of another session
            other = Frame(FrameType.DATA, 0, 0, rng.randbytes(4 * rng.randrange(1, 129)))
            return other.encoded(session ^ 1 << rng.randrange(32))
        return flipped(data)

    pieces, size = [], 0
    while size < count:
        pieces.append(piece())
        size += len(pieces[-1])
    # By chance two pieces may have made a frame that was sent.
    parts = b"".join(pieces).split(bytes([MARK]))
    return bytes([MARK]).join(part[:-1] if part in sent else part for part in parts)


