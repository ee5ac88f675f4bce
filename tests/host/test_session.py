"""The host's session against the golden device link, over channels with every fault."""

import dataclasses

import pytest

from golden.device.frame_link import DeviceLink
from host.transport.session import Session
from isa.frames import FRAME_VERSION, Frame, FrameType, Hello
from isa.registers import CONTRACT_VERSION
from tests.link.channel import Faults, Pair, Shuffle
from tests.seeds import generator, seed

HELLO = Hello(configuration=0x1234ABCD, image=0x7E7D7E7D)


def words(rng, count: int) -> list[int]:
    """Random words; many hold bytes that must be stuffed."""
    return [int.from_bytes(bytes(rng.choice((0x7E, 0x7D, 0x5E, 0x5D, rng.randrange(256)))
                                 for _ in range(4)), "little") for _ in range(count)]


def opened(device: DeviceLink | None = None, number: int = 0x7D7EC0DE, **channels) -> Pair:
    pair = Pair(Session(number, 0.0), device or DeviceLink(HELLO), **channels)
    pair.run(lambda: pair.session.welcome is not None)
    return pair


def exchange(pair: Pair, rng, count: int) -> None:
    """Words both ways at once; all arrive, once and in order."""
    down, up = words(rng, count), words(rng, count)
    pair.taken.clear()
    pair.offered += up
    pair.send(down)
    pair.run(lambda: len(pair.taken) >= count and pair.session.received_words >= count
             and not pair.session.unsent_words)
    assert pair.session.failure is None
    assert pair.taken == down
    assert pair.session.take(pair.session.received_words).tolist() == up


def test_welcome_tells_who_answers():
    pair = opened()
    welcome = pair.session.welcome
    assert (welcome.configuration, welcome.image) == (HELLO.configuration, HELLO.image)
    assert (welcome.clock_hz, welcome.receive_words) == (25_000_000, 512)
    assert pair.device.sessions == 1


def test_clean_channel_sends_nothing_twice():
    pair = opened()
    exchange(pair, generator("clean"), 70_000)  # word numbers wrap
    assert pair.session.damaged == pair.session.resent == 0


@pytest.mark.parametrize("rate, count", [(0.0002, 20_000), (0.001, 10_000), (0.004, 3000)])
def test_faults_are_mended(rate, count):
    seed()
    rng = generator(f"faults {rate}")
    down, up = Faults(rng, rate), Faults(rng, rate)
    pair = opened(down=down, up=up)
    exchange(pair, rng, count)
    assert down.count > 10 and up.count > 10 and pair.session.resent
    assert pair.device.sessions == 1


@pytest.mark.parametrize("rate, bytes_rate", [(0.05, 0.0), (0.3, 0.0), (0.1, 0.001)])
def test_whole_frames_lost_doubled_and_swapped(rate, bytes_rate):
    seed()
    rng = generator(f"shuffle {rate} {bytes_rate}")
    pair = opened()
    pair.down, pair.up = Shuffle(rng, rate, bytes_rate), Shuffle(rng, rate, bytes_rate)
    exchange(pair, rng, 20_000)
    assert pair.down.count > 5 and pair.up.count > 5


@pytest.mark.parametrize("receive_words", [64, 512])
def test_a_slow_device_is_waited_for(receive_words):
    seed()
    rng = generator("slow")
    pair = opened(DeviceLink(HELLO, receive_words=receive_words))
    pair.appetite = 7
    exchange(pair, rng, 3000)
    pair.appetite = 0  # it takes nothing for long
    down = words(rng, 3000)
    pair.taken.clear()
    pair.send(down)
    for _ in range(20_000):
        pair.step()
    assert not pair.taken and pair.session.failure is None
    pair.appetite = None
    pair.run(lambda: not pair.session.unsent_words)
    assert pair.taken == down


def test_a_new_session_begins_at_nothing():
    """Words of the old session, on their way or waiting, reach nobody in the new one."""
    rng = generator("new session")
    pair = opened()
    pair.appetite = 0
    pair.offered += words(rng, 300)
    pair.send(words(rng, 300))
    for _ in range(3):
        pair.step()
    old = pair.session.outgoing(pair.now)
    second = opened(pair.device, 0x11111111)
    assert pair.device.sessions == 2
    pair.device.receive(old, 0.0)
    exchange(second, rng, 1000)


def test_hello_repeated_resets_nothing():
    pair = opened()
    rng = generator("hello")
    exchange(pair, rng, 10)
    hello = Session(pair.session.number, 0.0).outgoing(0.0)
    pair.device.receive(hello, pair.now)
    exchange(pair, rng, 10)
    assert pair.device.sessions == 1


@pytest.mark.parametrize("sending", [True, False])
def test_power_cycle_ends_the_session(sending):
    rng = generator("power")
    pair = opened()
    exchange(pair, rng, 500)
    pair.device.power_cycle()
    pair.taken.clear()
    if sending:
        pair.send(words(rng, 500))
    pair.run(lambda: False, 2000)
    assert "was reset in the middle" in pair.session.failure
    assert not pair.taken and not pair.session.received_words


def test_silence_ends_the_session():
    pair = opened()
    pair.up = lambda data: b""
    pair.run(lambda: False)
    assert 5 < pair.now < 8 and "has not answered" in pair.session.failure


@pytest.mark.parametrize("noise, reason",
                         [(b"", "nothing came"), (b"login: ", "check the baud rate")])
def test_nobody_there(noise, reason):
    pair = Pair(Session(1, 0.0), DeviceLink(HELLO), up=lambda data: noise)
    pair.run(lambda: False)
    assert reason in pair.session.failure and "\n" not in pair.session.failure


@pytest.mark.parametrize("change, reason", [
    ({"contract": CONTRACT_VERSION + 1}, f"contract {CONTRACT_VERSION + 1}, this host is"),
    ({"frame_version": FRAME_VERSION + 1}, f"version {FRAME_VERSION + 1} of the link"),
])
def test_another_version_is_refused(change, reason):
    pair = opened(DeviceLink(dataclasses.replace(HELLO, **change)))
    failure = pair.session.failure
    assert reason in failure and "flash the bitstream again" in failure and "\n" not in failure
    pair.send([1, 2, 3])
    assert pair.session.outgoing(pair.now + 1) == b""


def test_lost_from_before_the_session_is_no_reset():
    pair = opened()
    pair.session.feed(Frame(FrameType.LOST).encoded(0), pair.now)
    exchange(pair, generator("lost"), 100)
