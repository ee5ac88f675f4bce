"""A session with a board that was recorded once: the host sends the same and reads the same."""

import numpy as np
import pytest

from host.transport.golden import GoldenTransport
from host.transport.recording import Recorder, Replay
from isa.errors import SpikeletError
from tests.system.boards import C
from tests.system.record import RECORDING, session


def golden_session():
    return session(GoldenTransport(C))


def test_recorded_session() -> None:
    """Golden tokens and counters (but cycles) come out of the board's recorded words."""
    replay = Replay(RECORDING)
    assert "virtual board" in replay.label  # until a session with a board is recorded
    assert replay.clock_hz and RECORDING.stat().st_size < 50_000
    for got, expected in zip(session(replay), golden_session(), strict=True):
        assert (got.tokens, got.stop) == (expected.tokens, expected.stop)
        for name, count in expected.counters.items():
            assert got.counters[name] == count or name.endswith("cycles"), name
        assert got.counters["cycles"] > 1000
    assert replay.finished


def test_what_was_recorded_is_replayed(tmp_path) -> None:
    recorder = Recorder(GoldenTransport(C), "golden")
    expected = session(recorder)
    recorder.save(tmp_path / "session.npz")
    replay = Replay(tmp_path / "session.npz")
    assert session(replay) == expected and replay.finished and replay.label == "golden"


def test_another_session_is_refused(tmp_path) -> None:
    recorder = Recorder(GoldenTransport(C), "golden")
    words = np.array([2, 0x40, 2], np.uint32) | np.array([10 << 8, 0, 0], np.uint32)
    recorder.send(words)
    recorder.receive(5)
    recorder.save(tmp_path / "session.npz")

    def replay() -> Replay:
        return Replay(tmp_path / "session.npz")

    with pytest.raises(SpikeletError, match="step 1 of the recording sent 3 words"):
        replay().send(words ^ np.uint32(1))
    with pytest.raises(SpikeletError, match="step 1 of the recording is no receive"):
        replay().receive(5)
    played = replay()
    played.send(words)
    with pytest.raises(SpikeletError, match="received 5 words, now 4 are wanted"):
        played.receive(4)
    played = replay()
    played.send(words)
    played.receive(5)
    with pytest.raises(SpikeletError, match="step 3 of the recording is no send"):
        played.send(words)
    (tmp_path / "other.npz").write_bytes(b"x")
    with pytest.raises(SpikeletError, match="is no recording of a session"):
        Replay(tmp_path / "other.npz")
