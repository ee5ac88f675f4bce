"""The board's harness: UART pins behind a pseudo-terminal, faults, reset, hanging up."""

import os
import select
import time
from pathlib import Path

import pytest
import serial
from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hdl.boards.top import SIMULATED_TOP
from isa.errors import SpikeletError
from sim.board.build import Pins, build_simulation
from sim.board.library import Faults, SimulatedBoard
from sim.board.terminal import Terminal
from sim.board.virtual import VirtualBoard
from sim.verilog import to_verilog
from tests.seeds import generator, seed

CLOCK = 25_000_000
BAUD = 3_000_000


class Loopback(wiring.Component):
    """tx is rx, five cycles later. leds: falling edges of rx low 8 bits."""

    def __init__(self) -> None:
        super().__init__({"rx": In(1), "tx": Out(1, init=1), "leds": Out(8)})

    def elaborate(self, platform):
        m = Module()
        line = Signal(4, init=0b1111)
        m.d.sync += Cat(line, self.tx).eq(Cat(self.rx, line))
        with m.If(line[1] & ~line[0]):
            m.d.sync += self.leds.eq(self.leds + 1)
        return m


def library() -> Path:
    return build_simulation(to_verilog(Loopback(), SIMULATED_TOP), Pins())


@pytest.fixture
def board():
    with VirtualBoard(library(), CLOCK, BAUD) as board:
        yield board


def opened(board: VirtualBoard, baud: int = BAUD) -> serial.Serial:
    return serial.Serial(board.path, baud, timeout=30, exclusive=True)


def random_bytes(count: int) -> bytes:
    return generator("board").randbytes(count)


def read_until_silent(port: serial.Serial, seconds: float = 0.3) -> bytes:
    got = b""
    while select.select([port.fileno()], [], [], seconds)[0]:
        got += port.read(port.in_waiting)
    return got


@pytest.mark.parametrize("clock,baud", [(CLOCK, BAUD), (80_000_000, BAUD), (12_000_000, 115_200)])
def test_every_byte_comes_back(clock, baud):
    sent = random_bytes(1000)
    with VirtualBoard(library(), clock, baud) as board, opened(board, baud) as port:
        port.write(sent[:1])
        assert port.read(1) == sent[:1]
        before = board.counts()
        port.write(sent)
        assert port.read(len(sent)) == sent
        after = board.counts()
    assert (after.to_board.bytes, after.to_host.bytes) == (len(sent) + 1, len(sent) + 1)
    assert after.framing_errors == after.lost == after.to_board.faults == 0
    # Bytes follow one another without a gap.
    needed = len(sent) * 10 * clock / baud
    assert needed <= after.cycles - before.cycles


@pytest.mark.parametrize("host_baud", [BAUD, BAUD // 2])
def test_bytes_follow_without_a_gap(host_baud):
    """The cycles of bytes that wait are those of their bits, at the host's baud rate."""
    read, write = os.pipe2(os.O_NONBLOCK)
    os.write(write, random_bytes(3000))
    board = SimulatedBoard(library(), CLOCK, BAUD)
    board.set_baud(host_baud)
    board.attach(read)
    cycles = round(2000 * 10 * CLOCK / host_baud)
    board.run(cycles, cycles)
    counts = board.counts()
    assert counts.to_board.bytes in (2000, 2001) and counts.to_host.bytes in (1999, 2000)
    board.close()
    os.close(read)
    os.close(write)


def test_the_baud_rate_is_the_hosts(board):
    """Bytes at a tenth of the rate take ten times as long."""
    cycles = []
    for baud in (BAUD // 10, BAUD):
        with opened(board, baud) as port:
            before = board.counts().cycles
            port.write(bytes(3000))
            assert port.read(3000) == bytes(3000)
            cycles.append(board.counts().cycles - before)
            assert cycles[-1] >= 30_000 * CLOCK / baud
    assert cycles[0] > 2 * cycles[1]


@pytest.mark.parametrize("faults", [Faults(flip=0.01), Faults(drop=0.1), Faults(insert=0.1)],
                         ids=["flip", "drop", "insert"])
@pytest.mark.parametrize("to_host", [False, True])
def test_faults_are_put_in(board, faults, to_host):
    sent = random_bytes(2000)
    board.set_faults(*((Faults(), faults) if to_host else (faults, Faults())), seed())
    with opened(board) as port:
        port.write(sent)
        got = read_until_silent(port)
    counts = board.counts()
    line, other = counts.to_board, counts.to_host
    if to_host:
        line, other = other, line
    assert line.faults and not other.faults and got != sent
    if faults.drop:
        assert len(got) == len(sent) - line.dropped and line.dropped == line.faults
        assert 100 < line.dropped < 300
    elif faults.insert:
        assert len(got) == len(sent) + line.inserted and line.inserted == line.faults
        assert 100 < line.inserted < 300
    else:
        assert 50 < line.flipped < 350 and line.flipped == line.faults
        if to_host:  # data bits only: every flip is one bit of what came
            flips = sum((a ^ b).bit_count() for a, b in zip(got, sent, strict=True))
            assert flips == line.flipped


def test_a_wrong_probability():
    with pytest.raises(SpikeletError, match="the probability to drop is 1.5: give 0 to 1"):
        Faults(drop=1.5)


def test_power_and_leds(board):
    with opened(board) as port:
        port.write(b"\x55\x00\x0f")  # 5, 1 and 2 falling edges, start bits among them
        assert port.read(3) == b"\x55\x00\x0f"
        assert board.leds == 8
        board.restart()
        assert board.leds == 0
        port.write(b"\x00")
        assert port.read(1) == b"\x00"
        assert board.leds == 1


def test_an_idle_board_naps():
    """The clock goes slower while nothing happens, and not otherwise."""
    def speed(seconds: float) -> float:
        before = board.counts().cycles
        time.sleep(seconds)
        return (board.counts().cycles - before) / seconds

    with VirtualBoard(library(), 100_000, 10_000) as board, opened(board, 9600) as port:
        port.write(b"x")
        assert port.read(1) == b"x"
        time.sleep(0.2)
        idle = speed(1.0)
        port.write(bytes(200_000))
        assert speed(0.1) > 2 * idle


def test_the_cable_is_pulled(board, tmp_path):
    with opened(board) as port:
        board.close_port()
        with pytest.raises(serial.SerialException):
            port.write(b"x")
            port.read(1)
    board.open_port()
    with opened(board) as port:
        port.write(b"again")
        assert port.read(5) == b"again"


def test_a_name_that_stays(tmp_path):
    link = tmp_path / "board"
    link.symlink_to(tmp_path / "gone")
    with VirtualBoard(library(), CLOCK, BAUD, symlink=link) as board:
        assert board.path == str(link)
        board.close_port()
        assert not link.is_symlink()
        assert board.open_port() == str(link)
        with opened(board) as port:
            port.write(b"same")
            assert port.read(4) == b"same"
    assert not link.is_symlink()
    with pytest.raises(SpikeletError, match="cannot make the link .*: No such file or directory"):
        Terminal(BAUD, tmp_path / "absent" / "board")


def test_a_host_that_does_not_read(board):
    """What the host leaves is kept up to a limit and then lost, as in a USB bridge."""
    many = 120_000
    with opened(board) as port:
        port.write_timeout = 60
        port.write(random_bytes(many))
        end = time.monotonic() + 60
        while board.counts().to_host.bytes < many:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert board.counts().lost > 0
    with opened(board) as port:
        read_until_silent(port)
        port.write(b"alive")
        assert port.read(5) == b"alive"
