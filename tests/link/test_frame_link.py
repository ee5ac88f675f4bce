"""The frame link in RTL against the host's session: every word once and in order."""

import cocotb
import pytest

from hdl.link.frame_link import FrameLink
from isa.frames import Hello
from tests.cocotb_support import Sink, Source, generator, parameters, run_cocotb, start
from tests.link.bench_frames import Faults, HostSide

CLOCK_HZ = 1_000_000  # the session's clock in the bench
HELLO = Hello(configuration=0x1234ABCD, image=0x7E7D7E7D)
NUMBER = 0x7D7EC0DE


def words(rng, count: int) -> list[int]:
    """Random words; many hold bytes that must be stuffed."""
    special = (0x7E, 0x7D, 0x5E, 0x5D, 0)
    return [sum((rng.choice(special) if rng.random() < 0.3 else rng.randrange(256)) << 8 * i
                for i in range(4)) for _ in range(count)]


async def both_ways(dut, name: str, host: HostSide, idle: float, stall: float, count: int) -> None:
    """`count` words each way at once."""
    rng = generator(name)
    source = Source(dut, "words_from_device", 32, idle)
    sink = Sink(dut, "words_to_device", 32, stall)
    down, up = words(rng, count), words(rng, count)
    source.put(up)
    host.send(down)
    await host.run(lambda: host.session.received_words >= count and not host.session.unsent_words,
                   2_000_000)
    assert host.taken() == up
    assert await sink.receive(count) == down
    await sink.silent(50)
    source.stop()
    sink.stop()


@cocotb.test()
async def words_pass(dut):
    await start(dut)
    host = HostSide(dut, NUMBER)
    await host.open()
    welcome = host.session.welcome
    assert (welcome.configuration, welcome.image) == (HELLO.configuration, HELLO.image)
    assert (welcome.clock_hz, welcome.receive_words) == (CLOCK_HZ, parameters()["receive_words"])
    for idle, stall in ((0.0, 0.0), (0.5, 0.2), (0.9, 0.0)):
        await both_ways(dut, f"pass {idle} {stall}", host, idle, stall, 1500)
    assert host.session.damaged == host.session.resent == 0


@cocotb.test()
async def faults_are_mended(dut):
    await start(dut)
    for rate in (0.0005, 0.003):
        rng = generator(f"faults {rate}")
        down, up = Faults(rng, rate), Faults(rng, rate)
        host = HostSide(dut, rng.getrandbits(32) | 1, 1, down, up)
        await host.open()
        await both_ways(dut, f"faults {rate}", host, 0.2, 0.2, 3000)
        print(f"rate {rate}: {down.faults} and {up.faults} faults, {host.session.damaged} damaged "
              f"frames came, {host.session.resent} sent again, {host.cycle} cycles")
        assert down.faults and up.faults and host.session.resent and host.session.damaged


@pytest.mark.parametrize("receive_words, transmit_words, block",
                         [(512, 512, True), (64, 128, False)])
def test_frame_link(receive_words, transmit_words, block):
    run_cocotb(
        FrameLink(CLOCK_HZ, HELLO, receive_words, transmit_words, block), __name__,
        f"frame_link_{receive_words}_{transmit_words}",
        {"receive_words": receive_words},
    )  # fmt: skip
