"""The serial transport over a pseudo-terminal, with the golden link and device behind it."""

import errno
import time

import numpy as np
import pytest
import serial

from host.transport.packets import PacketLink
from host.transport.serial import SerialTransport
from isa.configurations import configuration
from isa.errors import SpikeletError
from isa.frames import BAUD, Hello
from isa.packets import Space
from isa.registers import CONTRACT_VERSION, IDENTITY
from tests.link.board import PseudoBoard
from tests.link.channel import Faults
from tests.seeds import generator, seed

TINY = configuration("tiny")
ROWS = TINY.row_depth * TINY.cores * TINY.lanes // 4  # link words


@pytest.fixture
def board():
    with PseudoBoard(TINY) as board:
        yield board


def fails(call, reason: str, seconds: float = 10.0) -> None:
    """`call` raises SpikeletError within so many seconds, and its text is one line."""
    began = time.monotonic()
    with pytest.raises(SpikeletError, match=reason) as caught:
        call()
    assert time.monotonic() - began < seconds
    assert "\n" not in str(caught.value)


def test_the_device_says_what_it_is(board):
    with SerialTransport(board.path) as transport:
        assert transport.welcome.configuration == TINY.identity
        assert transport.welcome.image == 0
        first = IDENTITY[0].address
        words = PacketLink(transport).read(Space.REGISTER, first, len(IDENTITY)).tolist()
        assert words == [0x53504B4C, CONTRACT_VERSION, TINY.identity, 0]  # no image preloaded


@pytest.mark.parametrize("rate", [0.0, 0.0005])
def test_rows_are_read_back(board, rate):
    rng = np.random.default_rng(seed())
    board.down, board.up = (Faults(generator(f"{name} {rate}"), rate) for name in ("down", "up"))
    rows = rng.integers(0, 1 << 32, ROWS, dtype=np.uint32)
    with SerialTransport(board.path) as transport:
        link = PacketLink(transport)
        link.write(Space.ROW, 0, rows)
        assert (link.read(Space.ROW, 0, ROWS) == rows).all()
        assert bool(transport.session.resent) == bool(rate)
    assert bool(board.down.count) == bool(rate)


def test_a_second_session_finds_a_fresh_device(board):
    for _ in range(2):
        with SerialTransport(board.path) as transport:
            PacketLink(transport).write(Space.ROW, 0, np.ones(3, dtype=np.uint32))
            transport.send(np.array([1, 2], dtype=np.uint32))  # half a header
            device = board.device
    assert board.link.sessions == 2 and board.device is device


def test_another_contract_is_refused():
    with PseudoBoard(TINY, Hello(TINY.identity, contract=CONTRACT_VERSION + 1)) as board:
        fails(lambda: SerialTransport(board.path),
              f"contract {CONTRACT_VERSION + 1}, this host is {CONTRACT_VERSION}: build and flash")
        with SerialTransport(board.path, probing=True) as transport:
            assert transport.welcome.contract == CONTRACT_VERSION + 1
            fails(lambda: transport.send(np.zeros(1)), "build and flash")


def test_a_reset_in_the_middle_ends_the_session(board):
    with SerialTransport(board.path) as transport:
        link = PacketLink(transport)
        link.write(Space.ROW, 0, np.ones(8, dtype=np.uint32))
        assert link.read(Space.ROW, 0, 8).tolist() == [1] * 8
        board.power_cycle()
        fails(lambda: link.read(Space.ROW, 0, 8), "was reset in the middle")
        fails(lambda: link.write(Space.ROW, 0, np.ones(1)), "was reset in the middle", 0.1)


def test_an_unplugged_cable_ends_the_session(board):
    with SerialTransport(board.path) as transport:
        link = PacketLink(transport)
        board.close()
        fails(lambda: link.read(Space.ROW, 0, 8), "port is gone")


def test_a_device_that_falls_silent_ends_the_session(board):
    with SerialTransport(board.path, patience=1.0) as transport:
        board.up = lambda data: b""
        fails(lambda: PacketLink(transport).read(Space.ROW, 0, 8), "has not answered for 1 s")


def test_words_that_do_not_come_end_the_wait(board):
    """The link is well, the device sends nothing, or takes nothing."""
    with SerialTransport(board.path, patience=1.0, answer_seconds=2.0) as transport:
        fails(lambda: transport.receive(1), "neither sent nor taken a word for 2 s")
    with SerialTransport(board.path, patience=1.0, answer_seconds=2.0) as transport:
        board.deaf = True
        fails(lambda: transport.send(np.zeros(100_000, dtype=np.uint32)), "neither sent nor taken")


def test_nobody_answers():
    with PseudoBoard(TINY) as board:
        board.up = lambda data: b""
        fails(lambda: SerialTransport(board.path, patience=1.0), "answered in 1 s; nothing came")


def test_a_busy_port(board):
    with SerialTransport(board.path):
        fails(lambda: SerialTransport(board.path), "in use by another program")


def test_a_missing_port_and_one_that_is_none(tmp_path):
    fails(lambda: SerialTransport(str(tmp_path / "ttyUSB9")), "there is no serial port")
    path = tmp_path / "file"
    path.write_text("")
    fails(lambda: SerialTransport(str(path)), "is no serial port")
    fails(lambda: SerialTransport(str(tmp_path)), "is no serial port")


@pytest.mark.parametrize("number, reason", [
    (errno.EACCES, "no permission to open /dev/ttyUSB0: join the group"),
    (errno.EBUSY, "in use by another program"),
    (errno.EIO, "cannot open /dev/ttyUSB0"),
])
def test_a_port_that_does_not_open(monkeypatch, number, reason):
    def refuse(*arguments, **options):
        raise serial.SerialException(number, "could not open port")

    monkeypatch.setattr(serial, "Serial", refuse)
    fails(lambda: SerialTransport("/dev/ttyUSB0"), reason)


def test_a_baud_rate_that_the_port_cannot_do(monkeypatch):
    def refuse(path, baud, **options):
        raise ValueError(f"Invalid baud rate: {baud!r}")

    monkeypatch.setattr(serial, "Serial", refuse)
    fails(lambda: SerialTransport("/dev/ttyUSB0"), f"cannot do {BAUD} baud")
