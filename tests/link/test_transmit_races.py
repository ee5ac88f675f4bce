"""The transmit buffer when frames, acknowledgements, NAKs and the end of its patience come at once.

What is acknowledged, and what is gone back to, is decided some cycles before it is done.
"""

from collections import Counter

import cocotb
from amaranth.hdl import Module
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped
from cocotb.triggers import RisingEdge

from hdl.link.transmit_buffer import APART_CYCLES, TransmitBuffer
from isa.frames import DEVICE_RESEND_SECONDS, SEQUENCE_BITS
from tests.cocotb_support import Source, generator, run_cocotb, start

DEPTH, PATIENCE = 64, 40  # cycles: so few that it often ends while something is under way
SETTLED = 8  # cycles after which an acknowledgement has been taken over
LINE = 12  # cycles at least from the begin of a frame to its acknowledgement
COUNT = 20_000


class Taker(Component):
    """A buffer as the link drives it: a frame begins where one is chosen that is still due."""

    def __init__(self) -> None:
        super().__init__({
            "words": In(stream.Signature(32)), "heard": In(1), "acknowledge": In(SEQUENCE_BITS),
            "missing": In(1), "choose": In(1), "take": Out(1), "sequence": Out(SEQUENCE_BITS),
            "length": Out(8),
        })  # fmt: skip

    def elaborate(self, platform):
        m = Module()
        clock_hz = round(PATIENCE / DEVICE_RESEND_SECONDS)
        m.submodules.buffer = buffer = TransmitBuffer(clock_hz, DEPTH, False)
        connect(m, flipped(self.words), buffer.words)
        m.d.comb += [
            buffer.heard.eq(self.heard), buffer.acknowledge.eq(self.acknowledge),
            buffer.missing.eq(self.missing), buffer.take.eq(self.choose & buffer.due),
            self.take.eq(buffer.take), self.sequence.eq(buffer.sequence),
            self.length.eq(buffer.length),
        ]  # fmt: skip
        return m


class Host:
    """Gets the frames, some of them not, and says what the buffer may send next."""

    def __init__(self, rng) -> None:
        self.rng = rng
        self.expected = self.sent = self.repeated = 0  # words: that comes next, sent once; frames
        self.known, self.told, self.told_at = 0, 0, 0  # acknowledged for long; last; when
        self.back = False  # a NAK that no frame has followed yet
        self.line: list[tuple[int, int, int]] = []  # frames: when they are here, words

    def frame(self, now: int, sequence: int, length: int) -> None:
        """A frame begins: with no word that is done with, none left out, none that has not come."""
        if now >= self.told_at + SETTLED:
            self.known = self.told
            assert not self.back or sequence <= self.told, "it did not go back"
        self.back &= sequence > self.told
        assert self.known <= sequence <= self.sent, f"{self.known}, {sequence}, {self.sent}"
        assert length and sequence + length <= COUNT
        self.repeated += sequence < self.sent
        self.sent = max(self.sent, sequence + length)
        if self.rng.random() < 0.8:
            self.line.append((now + LINE, sequence, length))

    def answer(self, now: int) -> tuple[int, bool]:
        """The word that is expected, and whether words are missing."""
        while self.line and self.line[0][0] <= now:
            _, sequence, length = self.line.pop(0)
            if sequence <= self.expected < sequence + length:
                self.expected = sequence + length
        if now >= self.told_at + SETTLED:
            self.known = self.told
        missing = self.rng.random() < 0.2
        self.told, self.told_at, self.back = self.expected, now, self.back or missing
        return self.expected, missing


@cocotb.test()
async def no_word_is_left_out(dut):
    """Through words that run full and empty, and a host that is silent for long now and then."""
    rng = generator("races")
    for name in ("heard", "choose", "acknowledge", "missing"):
        getattr(dut, name).value = 0
    await start(dut)
    source = Source(dut, "words", 32, 0.1)
    source.put([rng.getrandbits(32) for _ in range(COUNT)])
    host, now, pause, chosen = Host(rng), 0, APART_CYCLES, 0
    at_once = Counter()  # frames, by cycles since the answer before
    while host.told < COUNT:
        await RisingEdge(dut.clk)
        now += 1
        assert now < 40 * COUNT
        if int(dut.take.value):
            at_once[now - host.told_at] += 1
            host.frame(now, int(dut.sequence.value), int(dut.length.value))
            chosen = now + 3  # the line is busy
        share = 0.3 if now < host.told_at + SETTLED else 0.05  # of cycles: most at an answer
        dut.choose.value = now > chosen and rng.random() < share
        pause -= 1
        dut.heard.value = pause == 0
        if pause == 0:
            dut.acknowledge.value, dut.missing.value = host.answer(now + 1)
            pause = rng.choice((APART_CYCLES, rng.randrange(APART_CYCLES, 2 * PATIENCE)))
            if rng.random() < 0.002:
                pause = 30 * PATIENCE
    assert host.repeated > COUNT // 100
    assert all(at_once[cycles] > 10 for cycles in range(SETTLED)), at_once


def test_transmit_races():
    run_cocotb(Taker(), __name__, "transmit_races_64")
