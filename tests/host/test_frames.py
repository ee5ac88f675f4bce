"""Frames: encoding, the host's decoder and the golden link's, and a million bytes of garbage."""

import zlib

import numpy as np
import pytest

from golden.device.frame_link import DeviceLink
from host.transport.frames import FrameDecoder
from host.transport.session import Session
from isa.frames import (
    ESCAPE,
    ESCAPE_XOR,
    MARK,
    MAXIMUM_WORDS,
    WELCOME_FIELDS,
    Frame,
    FrameType,
    Hello,
    Welcome,
    words_payload,
)
from tests.link.garbage import garbage
from tests.seeds import generator, seed

SESSION = 0x7D7EC0DE


def frames(rng, count: int) -> list[Frame]:
    """Frames of every type, with payloads of every length that they may have."""
    return [Frame(rng.choice(list(FrameType)), rng.getrandbits(16), rng.getrandbits(16),
                  rng.randbytes(4 * rng.randrange(MAXIMUM_WORDS + 1))) for _ in range(count)]


def test_a_frame_by_hand():
    body = bytes([0x10, 1, 0x34, 0x12, 0x78, 0x56, 0x7E, 0x7D, 0x00, 0xFF])
    check = (zlib.crc32(body) ^ SESSION).to_bytes(4, "little")
    plain = body + check
    stuffed = b"".join(bytes([ESCAPE, byte ^ ESCAPE_XOR]) if byte in (MARK, ESCAPE)
                       else bytes([byte]) for byte in plain)
    frame = Frame(FrameType.DATA, 0x1234, 0x5678, words_payload([0xFF007D7E]))
    assert frame.encoded(SESSION) == bytes([MARK]) + stuffed + bytes([MARK])


def test_welcome_keeps_its_words():
    welcome = Welcome(1, 2, 3, 4, 5, 6, 7)
    assert len(welcome.words) == len(WELCOME_FIELDS) and Welcome.of(welcome.words) == welcome
    assert Welcome.of(welcome.words[:3]) == Welcome(1, 2, 0, 0, 0, 0, 0)
    assert Welcome.of([*welcome.words, 99]) == welcome


@pytest.mark.parametrize("longest", [1, 7, 5000])
def test_frames_come_back_however_the_bytes_are_cut(longest):
    seed()
    rng = generator(f"cut {longest}")
    sent = frames(rng, 100)
    data = b"".join(frame.encoded(SESSION) for frame in sent)
    decoder, came = FrameDecoder(SESSION), []
    while data:
        size = rng.randrange(1, longest + 1)
        came += decoder.feed(data[:size])
        data = data[size:]
    assert came == sent


def test_frames_of_other_sessions_are_not_taken():
    for kind in FrameType:
        data = Frame(kind, 1, 2).encoded(SESSION)
        inside = kind >= FrameType.DATA
        for other in (0, 1, SESSION ^ 1 << 31):
            assert bool(FrameDecoder(other).feed(data)[0]) != inside
        assert FrameDecoder(SESSION).feed(data) == [Frame(kind, 1, 2)]


def test_noise_without_marks_is_not_kept():
    decoder = FrameDecoder(SESSION)
    for _ in range(1000):
        assert decoder.feed(bytes(1000)) == []
    assert len(decoder._rest) < 10_000
    good = Frame(FrameType.POLL, 1, 2)
    assert decoder.feed(good.encoded(SESSION)) == [None, good]


def test_the_decoder_accepts_no_garbage():
    seed()
    rng = generator("garbage up")
    data = garbage(rng, SESSION, 1_000_000)
    decoder, came = FrameDecoder(SESSION), []
    for at in range(0, len(data), 4096):
        came += decoder.feed(data[at : at + 4096])
    assert len(data) > 990_000 and len(came) > 1000
    assert came.count(None) == len(came), [frame for frame in came if frame]
    good = Frame(FrameType.DATA, 1, 2, bytes(8))
    assert decoder.feed(good.encoded(SESSION))[-1] == good


def test_a_session_takes_no_word_of_garbage():
    rng = generator("garbage session")
    session = Session(SESSION, 0.0)
    welcome = Welcome(Hello(1).frame_version, SESSION, Hello(1).contract, 1, 0, 25_000_000, 512)
    session.feed(Frame(FrameType.WELCOME, payload=words_payload(welcome.words)).encoded(0), 0.0)
    session.send(np.arange(100, dtype=np.uint32))
    for _ in range(10):
        session.outgoing(0.0)
        session.feed(garbage(rng, SESSION, 20_000), 0.0)
    assert not session.received_words and session.unsent_words == 100
    assert session.failure is None and session.damaged > 200


def test_the_golden_link_accepts_no_garbage():
    rng = generator("garbage down")
    link = DeviceLink(Hello(1))
    hello = Frame(FrameType.HELLO, payload=words_payload([1, SESSION]))
    link.receive(hello.encoded(0), 0.0)
    link.receive(garbage(rng, SESSION, 300_000), 0.0)
    assert link.session == SESSION and link.sessions == 1 and not link.take()
    link.receive(Frame(FrameType.DATA, payload=words_payload([5, 6])).encoded(SESSION), 0.0)
    assert link.take() == [5, 6]
