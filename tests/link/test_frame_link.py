"""The frame link in RTL against the host's session: every word once and in order, no other."""

import numpy as np
import pytest

from host.transport.session import Session
from isa.frames import Frame, FrameType, Hello
from tests.link.channel import STEP_SECONDS, Faults, Pair, Shuffle
from tests.link.frame_library import FrameLinkModel
from tests.link.garbage import garbage
from tests.seeds import generator, seed

GAP = 3  # cycles a byte
CYCLES = 300 * GAP  # a step of the pair
CLOCK_HZ = round(CYCLES / STEP_SECONDS)
HELLO = Hello(configuration=0x1234ABCD, image=0x7E7D7E7D)
NUMBER = 0x7D7EC0DE
BUFFERS = {"block": (512, 512, True), "small": (64, 128, False)}


def words(rng, count: int) -> list[int]:
    """Random words; many hold bytes that must be stuffed."""
    return [int.from_bytes(bytes(rng.choice((0x7E, 0x7D, 0x5E, 0x5D, rng.randrange(256)))
                                 for _ in range(4)), "little") for _ in range(count)]


@pytest.fixture(params=BUFFERS)
def pair(request) -> Pair:
    """A session open on a clean line, without stalls."""
    number = seed()
    device = FrameLinkModel(HELLO, CLOCK_HZ, *BUFFERS[request.param], seed=number, gap=GAP,
                            cycles=CYCLES)
    pair = opened(device)
    yield pair
    device.close()


def opened(device: FrameLinkModel, number: int = NUMBER) -> Pair:
    pair = Pair(Session(number, 0.0), device)
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
    for _ in range(5):
        pair.step()
    assert pair.session.failure is None
    assert pair.taken == down
    assert pair.session.take(pair.session.received_words).tolist() == up


def test_words_pass_with_stalls_on_both_sides(pair):
    welcome = pair.session.welcome
    assert (welcome.configuration, welcome.image) == (HELLO.configuration, HELLO.image)
    assert welcome.clock_hz == CLOCK_HZ
    for idle, stall in ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.9, 0.9)):
        pair.device.idle, pair.device.stall = idle, stall
        exchange(pair, generator(f"pass {idle} {stall}"), 4000)
    assert pair.session.damaged == pair.session.resent == 0


def test_word_numbers_wrap(pair):
    exchange(pair, generator("wrap"), 70_000)


@pytest.mark.parametrize("direction", ["to the device", "to the host"])
def test_words_fill_the_line(pair, direction):
    """The share of the line's bytes that are words; the rest is frames, stuffing, waiting."""
    rng = generator("share")
    count = 20_000
    data = [rng.getrandbits(32) for _ in range(count)]
    began = pair.now
    if direction == "to the device":
        pair.send(data)
        pair.run(lambda: len(pair.taken) >= count)
    else:
        pair.offered += data
        pair.run(lambda: pair.session.received_words >= count)
    share = 4 * count / (300_000 * (pair.now - began))
    print(f"{direction}: {100 * share:.1f} % of the line, {75_000 * share:.0f} words a second")
    assert share > (0.95 if pair.device.block else 0.80)
    assert not pair.session.resent


@pytest.mark.parametrize("rate, count", [(0.0002, 20_000), (0.001, 10_000), (0.004, 3000)])
def test_faults_are_mended(pair, rate, count):
    rng = generator(f"faults {rate}")
    pair.down, pair.up = Faults(rng, rate), Faults(rng, rate)
    pair.device.idle, pair.device.stall = 0.3, 0.3
    exchange(pair, rng, count)
    assert pair.down.count > 10 and pair.up.count > 10
    assert pair.session.resent and pair.session.damaged
    assert pair.device.reset_cycles < 40  # one session


@pytest.mark.parametrize("rate, bytes_rate", [(0.05, 0.0), (0.3, 0.0), (0.1, 0.001)])
def test_whole_frames_lost_doubled_and_swapped(pair, rate, bytes_rate):
    rng = generator(f"shuffle {rate} {bytes_rate}")
    pair.down, pair.up = Shuffle(rng, rate, bytes_rate), Shuffle(rng, rate, bytes_rate)
    exchange(pair, rng, 10_000)
    assert pair.down.count > 5 and pair.up.count > 5


def test_a_slow_device_is_waited_for(pair):
    rng = generator("slow")
    pair.device.stall = 255 / 256
    exchange(pair, rng, 3000)
    pair.device.stall = 1.0  # it takes nothing for long
    down = words(rng, 3000)
    pair.taken.clear()
    pair.send(down)
    for _ in range(3000):
        pair.step()
    assert not pair.taken and pair.session.failure is None
    pair.device.stall = 0.0
    pair.run(lambda: not pair.session.unsent_words)
    pair.step()
    assert pair.taken == down


def test_a_slow_host_gets_every_word(pair):
    """Nothing reaches it for a while: the device repeats, then waits, then goes on."""
    rng = generator("deaf")
    up = words(rng, 3000)
    pair.offered += up
    pair.up = lambda data: b""
    for _ in range(2000):
        pair.step()
    pair.up = bytes
    pair.run(lambda: pair.session.received_words >= 3000)
    assert pair.session.take(pair.session.received_words).tolist() == up


def test_a_new_session_begins_at_nothing(pair):
    """Words of the old session, on their way or waiting, reach nobody in the new one."""
    rng = generator("new session")
    device = pair.device
    device.stall = 1.0
    pair.offered += words(rng, 300)
    pair.send(words(rng, 300))
    for _ in range(3):
        pair.step()
    before = device.reset_cycles
    old = pair.session.outgoing(pair.now)
    device.offered.clear()
    second = opened(device, 0x11111111)
    assert device.reset_cycles - before >= 16
    device.stall = 0.0
    device.receive(old)
    exchange(second, rng, 1000)


def test_hello_repeated_resets_nothing(pair):
    rng = generator("hello")
    exchange(pair, rng, 10)
    before = pair.device.reset_cycles
    pair.device.receive(Session(NUMBER, 0.0).outgoing(0.0))
    exchange(pair, rng, 10)
    assert pair.device.reset_cycles == before


@pytest.mark.parametrize("sending", [True, False])
def test_power_cycle_ends_the_session(pair, sending):
    rng = generator("power")
    exchange(pair, rng, 500)
    pair.device.power_cycle()
    pair.taken.clear()
    if sending:
        pair.send(words(rng, 500))
    pair.run(lambda: False, 3000)
    assert "was reset in the middle" in pair.session.failure
    assert not pair.taken and not pair.session.received_words


def test_reset_in_the_middle_of_anything(pair):
    """Most registers have no reset: whatever they hold, the next session begins at nothing."""
    rng, device = generator("middle"), pair.device
    for number in range(1, 31):
        device.stall = rng.choice((0.0, 0.9))
        device.offered += words(rng, 300)
        pair.send(words(rng, 300))
        for _ in range(rng.randrange(4)):
            pair.step()
        device.run(np.frombuffer(rng.randbytes(rng.randrange(40)), dtype=np.uint8)
                   .astype(np.uint16), rng.randrange(200))  # fmt: skip
        device.power_cycle()
        device.offered.clear()
        device.take()
        device.transmit()
        device.stall = 0.0
        pair = opened(device, NUMBER + number)
        exchange(pair, rng, 300)


def test_garbage_is_never_accepted(pair):
    """A million bytes that hold no frame that was sent: no word, no new session, no answer but NAK
    and ACK; then the link works as before."""
    device, rng = pair.device, generator("garbage")
    before = device.reset_cycles
    data = garbage(rng, NUMBER, 1_000_000)
    assert len(data) > 990_000
    device.gap, device.cycles = 1, len(data) + 5000
    device.receive(data)
    assert device.take() == [] and device.reset_cycles == before
    answers = [frame for frame in pair.session._decoder.feed(device.transmit()) if frame]
    assert len(answers) > 1000 and not any(frame.acknowledge for frame in answers)
    assert {frame.type for frame in answers} == {FrameType.NAK}
    device.gap, device.cycles = GAP, CYCLES
    exchange(pair, rng, 1000)


def test_a_byte_without_stop_bit_spoils_its_frame(pair):
    device, rng = pair.device, generator("stop bit")
    frame = Frame(FrameType.DATA, 0, 0, rng.randbytes(40)).encoded(NUMBER)
    for at in range(len(frame)):
        data = [byte | 0x100 * (i == at) for i, byte in enumerate(frame)]
        device.run(np.array(data + [0x7E], dtype=np.uint16), 1000)
        assert device.take() == [], f"byte {at}"
    device.receive(frame)
    assert len(device.take()) == 10
