"""A virtual board behind the real serial driver: golden tokens, whatever happens on the line."""

import time

import numpy as np
import pytest
import serial

from host.driver import Driver
from host.transport.packets import PacketLink
from host.transport.serial import SerialTransport
from isa.errors import SpikeletError
from isa.frames import FRAME_VERSION, Frame, FrameType, words_payload
from isa.packets import Space
from isa.registers import CONTRACT_VERSION, COUNTERS
from sim.board.library import Faults
from tests.seeds import seed
from tests.system.boards import (
    CLOCK_HZ,
    COUNT,
    PROMPT,
    C,
    connected,
    generate,
    golden,
    image,
    simulation,
    virtual_board,
)

UNTIMED = [r.name for r in COUNTERS if not r.name.endswith("cycles")]


@pytest.fixture
def board():
    with virtual_board() as virtual:
        yield virtual


@pytest.mark.parametrize("sampled", [False, True])
def test_tokens_are_goldens(board, sampled):
    """Also the counters; and the weights that were loaded read back."""
    with connected(board) as transport:
        told = transport.welcome
        assert (told.configuration, told.contract) == (C.identity, CONTRACT_VERSION)
        assert (told.clock_hz, told.image) == (CLOCK_HZ, 0)
        start = time.perf_counter()
        result = generate(transport, sampled)
        seconds = time.perf_counter() - start
        for section in image().sections:
            if section.space is Space.ROW:
                link = PacketLink(transport)
                found = link.read(Space.ROW, section.address, section.words.size)
                np.testing.assert_array_equal(found, section.words)
    expected = golden(sampled)
    assert (result.tokens, result.stop) == (expected.tokens, expected.stop)
    assert not sampled or len(set(result.tokens)) > 1
    for name in UNTIMED:
        assert result.counters[name] == expected.counters[name], name
    print(f"{board.counts().cycles / board.seconds:,.0f} cycles a second, loading and "
          f"{COUNT} tokens in {seconds:.1f} s")


def test_one_session_after_another(board):
    """Each opens the port, loads and generates; nothing of the one before is left."""
    for _ in range(2):
        with connected(board) as transport:
            assert generate(transport, count=3).tokens == golden(count=3).tokens


# A frame of 128 words is 5,000 bits: the rates below damage up to half of those.
@pytest.mark.parametrize("faults", [
    Faults(flip=1e-4),
    pytest.param(Faults(drop=4e-4), marks=pytest.mark.extra),
    pytest.param(Faults(insert=4e-4), marks=pytest.mark.extra),
    Faults(flip=3e-5, drop=2e-4, insert=2e-4),
], ids=["flip", "drop", "insert", "all"])  # fmt: skip
def test_it_recovers_from_faults(board, faults):
    with connected(board) as transport:
        board.set_faults(faults, faults, seed())
        result = generate(transport)
        counts = board.counts()
    assert result.tokens == golden().tokens
    assert counts.to_board.faults and counts.to_host.faults
    print(f"{counts.to_board.faults + counts.to_host.faults} faults in "
          f"{counts.to_board.bytes + counts.to_host.bytes} bytes")


def interrupted(transport: SerialTransport, act, at: int) -> str:
    """Generates, calls `act` after `at` tokens; the error's line. No token is a wrong one."""
    tokens: list[int] = []

    def took(token: int) -> None:
        tokens.append(token)
        if len(tokens) == at:
            act()

    with pytest.raises(SpikeletError) as caught:
        generate(transport, count=20, on_token=took)
    assert tokens == golden(count=20).tokens[: len(tokens)]
    assert at <= len(tokens) < 20
    message = str(caught.value)
    assert len(message.splitlines()) == 1 and transport.path in message
    return message


def test_a_line_of_noise_stops_with_one_line(board):
    """Half of all bits flip from the third token on: nothing gets through any more."""
    with connected(board, patience=5.0) as transport:
        def noise() -> None:
            board.set_faults(Faults(flip=0.5), Faults(flip=0.5), seed())

        assert "not answered" in interrupted(transport, noise, 3)
    board.set_faults(Faults(), Faults(), 0)
    with connected(board) as transport:
        assert generate(transport, count=3).tokens == golden(count=3).tokens


def test_the_board_loses_its_power(board):
    with connected(board) as transport:
        assert "was reset" in interrupted(transport, board.restart, 3)
    with connected(board) as transport:
        assert generate(transport, count=3).tokens == golden(count=3).tokens


def test_the_cable_is_pulled(tmp_path):
    with virtual_board(tmp_path / "port") as board:
        with connected(board) as transport:
            assert "port is gone" in interrupted(transport, board.close_port, 3)
        with pytest.raises(SpikeletError, match="there is no serial port"):
            connected(board)
        board.open_port()
        with connected(board) as transport:
            assert generate(transport, count=3).tokens == golden(count=3).tokens


def test_one_user_at_a_time(board):
    with connected(board) as transport:
        with pytest.raises(SpikeletError, match="is in use by another program"):
            connected(board)
        assert generate(transport, count=2).tokens == golden(count=2).tokens


def test_a_session_takes_over(board):
    """Another host that opens a session ends the first: its generation stops with a line."""
    with connected(board, patience=5.0) as transport:
        driver = Driver(transport, image())
        hello = Frame(FrameType.HELLO, payload=words_payload([FRAME_VERSION, 99])).encoded(0)
        with serial.Serial(board.path, simulation().baud) as other:  # does not ask for the lock
            other.write(hello)
        with pytest.raises(SpikeletError) as caught:
            driver.generate(PROMPT, COUNT)
    assert len(str(caught.value).splitlines()) == 1


def test_another_baud_rate_is_one_line(board):
    with pytest.raises(SpikeletError, match="no Spikelet device answered in 3 s") as caught:
        connected(board, baud=1_000_000, patience=3.0)
    assert len(str(caught.value).splitlines()) == 1
