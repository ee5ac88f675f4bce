"""The whole serial link in RTL, pin to word, with cocotbext-uart as the host's port."""

import cocotb
import numpy as np
from cocotb.simtime import get_sim_time
from cocotb.triggers import Timer
from cocotbext.uart import UartSink, UartSource

from hdl.link.serial import SerialLink
from host.transport.session import Session
from isa.frames import Hello
from tests.cocotb_support import CLOCK_NS, Sink, Source, generator, run_cocotb, start

CLOCK_HZ, BAUD = 25_000_000, 3_000_000
HELLO = Hello(configuration=0x1234ABCD)
WORDS = 70


@cocotb.test()
async def words_cross_the_pins(dut):
    """Both ways, with stalls, and with a byte broken on the line."""
    dut.rx.value = 1
    await start(dut)
    rng = generator("pins")
    bits_a_second = BAUD * 1e9 / CLOCK_NS / CLOCK_HZ  # in the bench's time
    uart_in = UartSource(dut.rx, baud=bits_a_second)
    uart_out = UartSink(dut.tx, baud=bits_a_second)
    source = Source(dut, "words_from_device", 32, 0.3)
    sink = Sink(dut, "words_to_device", 32, 0.3)
    down, up = ([rng.getrandbits(32) for _ in range(WORDS)] for _ in range(2))
    session = Session(rng.getrandbits(32) | 1, 0.0)
    session.send(np.array(down, dtype=np.uint32))
    source.put(up)
    broken = False
    for _ in range(5000):
        await Timer(2, "us")
        now = get_sim_time("sec") / 10  # so that its timers fit
        session.feed(bytes(uart_out.read_nowait()), now)
        while uart_in.empty() and (data := session.outgoing(now)):
            if len(data) > 100 and not broken:
                broken, data = True, data[:50] + bytes([data[50] ^ 4]) + data[51:]
            uart_in.write_nowait(data)
        assert session.failure is None, session.failure
        if session.received_words == WORDS and not session.unsent_words:
            break
    assert session.take(WORDS).tolist() == up
    assert await sink.receive(WORDS) == down
    assert broken and session.resent
    assert session.welcome.configuration == HELLO.configuration
    assert session.welcome.clock_hz == CLOCK_HZ
    assert int(dut.activity.value) == 3


def test_serial_link():
    link = SerialLink(CLOCK_HZ, BAUD, HELLO, receive_words=128, transmit_words=128)
    run_cocotb(link, __name__, "serial_link")
