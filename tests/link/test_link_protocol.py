"""Link words in and out of the link's units together: word for word as the golden device answers.

The program is empty, so that a run needs no other unit: every token is `next_token`.
"""

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from golden.device.device import GoldenDevice
from isa.configurations import configuration
from isa.packets import HEADER, HEADER_WORDS, Kind, RunFlag, Space
from isa.registers import COUNTERS, EXTERNAL_SETTINGS, IDENTITY, SETTINGS, Stop
from tests.cocotb_support import STALLS, Sink, Source, generator, run_cocotb, start
from tests.link.bench_link import LinkHarness, vector_contents
from tests.link.packet_model import Packet

CONFIGURATION = "tiny"
CHUNKS = 9  # of packets, for each pair of stalls


class Pair:
    """The unit and the golden device, fed with the same packets."""

    def __init__(self, dut) -> None:
        self.dut, self.c = dut, configuration(CONFIGURATION)
        self.rng = generator("link")
        self.golden = GoldenDevice(self.c)
        self.golden.memories.vector[:] = vector_contents(self.c)
        self.choose_token(0)

    def connect(self, idle: float, stall: float) -> None:
        """Begins with these stalls."""
        self.source, self.sink = Source(self.dut, "i", 32, idle), Sink(self.dut, "o", 32, stall)

    def choose_token(self, token: int) -> None:
        """What every position gives from now on."""
        self.dut.next_token.value = self.golden.executor.next_token = token

    async def exchange(self, packets: list[Packet]) -> list[list[int]]:
        """Sends packets to both and compares all answers; returns them, packet by packet."""
        words = np.array([word for p in packets for word in p.words], dtype=np.uint32)
        self.golden.send(words)
        expected = []
        while more := self.golden.receive().tolist():
            expected += more
        await self.source.send(words.tolist())
        got = await self.sink.receive(len(expected))
        for index, (wanted, word) in enumerate(zip(expected, got, strict=True)):
            assert word == wanted, f"word {index}: {wanted:#x} expected, {word:#x} ({expected=})"
        answers = []
        while got:
            fields = HEADER.unpack(sum(word << 32 * i for i, word in enumerate(got[:HEADER_WORDS])))
            size = HEADER_WORDS + fields["length"]
            answers.append(got[:size])
            got = got[size:]
        return answers

    async def read(self, space: Space, address: int, length: int) -> list[int]:
        (answer,) = await self.exchange([Packet(Kind.READ, space, 0, address, (), length)])
        return answer[HEADER_WORDS:]

    async def disconnect(self) -> None:
        await self.sink.silent(30)
        self.source.stop()
        self.sink.stop()
        await RisingEdge(self.dut.clk)

    # ---- random packets ----------------------------------------------------------------------

    def setting(self) -> Packet:
        """Neighbouring settings, each a value that fits it; the context small, and never 0."""
        rng = self.rng
        first = rng.randrange(len(SETTINGS))
        payload = []
        for r in SETTINGS[first : first + rng.randint(1, 5)]:
            value = rng.getrandbits(r.bits) - (r.signed << r.bits - 1)
            value = rng.randint(1, 20) if r.name == "context" else value
            payload.append(value & 0xFFFFFFFF)
        return Packet(Kind.WRITE, Space.REGISTER, 0, SETTINGS[first].address, tuple(payload))

    def ends(self, context: int, end_token: int) -> Packet:
        """What ends a run: three settings in a row."""
        address = {r.name: r.address for r in SETTINGS}
        assert address["end_token_enable"] == address["end_token"] + 1 == address["context"] + 2
        return Packet(Kind.WRITE, Space.REGISTER, 0, address["context"], (context, end_token, 1))

    def rows(self) -> Packet:
        """To the rows from 0 on, those before the last, or beyond the end."""
        rng, each = self.rng, self.c.cores * self.c.lanes // 4
        length, end = rng.randrange(4 * each), self.c.row_depth * each
        beyond = end + rng.getrandbits(31)
        value = rng.choice((rng.randrange(8 * each), end - each - length, beyond))
        return Packet(Kind.WRITE, Space.ROW, 0, value, self._payload(length))

    def read_anything(self) -> Packet:
        """Across the end too, but not of the row that takes what is streamed."""
        rng, each = self.rng, self.c.cores * self.c.lanes // 4
        length = rng.randrange(20)
        rows, elements = self.c.row_depth * each, self.c.vector_depth * self.c.vector_lanes
        space, value = rng.choice(
            (
                (Space.ROW, rng.randrange(8 * each)),
                (Space.ROW, rng.choice((rows - each - length, rows, rows + rng.getrandbits(30)))),
                (Space.VECTOR, rng.choice((rng.randrange(elements), elements - 5))),
                (Space.REGISTER, rng.choice((0, rng.randrange(0x80, 0x100), 0x300))),
                (rng.choice((Space.EXP2, Space.PROGRAM, 30)), 0),
            )
        )
        return Packet(Kind.READ, space, 0, value, (), length)

    def streamed(self) -> Packet:
        space = self.rng.choice((Space.ROW, Space.PARAMETER, Space.SILU))
        return Packet(Kind.STREAM, space, 0, 0, self._payload(self.rng.randrange(30)))

    def refused(self) -> Packet:
        kind, space = self.rng.choice(((9, 0), (0x81, 3), (Kind.WRITE, 9), (Kind.WRITE, 200)))
        return Packet(kind, space, 0, self.rng.getrandbits(32), self._payload(7))

    def clear(self) -> Packet:
        """Writing a counter clears it."""
        address = self.rng.choice(COUNTERS).address
        return Packet(Kind.WRITE, Space.REGISTER, 0, address, self._payload(1))

    def run(self) -> Packet:
        rng = self.rng
        length = rng.choice((0, 1, rng.randint(1, 9), self.c.context + 1))
        flags = rng.choice((0, RunFlag.RESET, RunFlag.RESET | RunFlag.LOGITS))
        prompt = tuple(rng.randrange(300) for _ in range(length))
        return Packet(Kind.RUN, 0, flags, rng.randrange(5), prompt)

    def _payload(self, length: int) -> tuple[int, ...]:
        return tuple(self.rng.getrandbits(32) for _ in range(length))


@cocotb.test()
async def as_the_golden_device(dut):
    """Random packets, refused ones among them; whatever is answered is compared word for word."""
    await start(dut)
    pair = Pair(dut)
    rng = pair.rng
    makers = (pair.setting, pair.rows, pair.read_anything, pair.streamed, pair.refused,
              pair.clear, lambda: Packet(Kind.STOP))
    for idle, stall in STALLS:
        pair.connect(idle, stall)
        for _ in range(CHUNKS):
            pair.choose_token(rng.choice((3, rng.getrandbits(18))))
            chunk = [rng.choice(makers)() for _ in range(rng.randrange(9))]
            ends = pair.ends(rng.choice((rng.randint(1, 20), 40)), rng.choice((3, 4)))
            await pair.exchange([*chunk, ends, pair.run()])
            await pair.exchange([pair.read_anything() for _ in range(4)])
        await pair.disconnect()


@cocotb.test()
async def ends_of_runs(dut):
    """A run to its count, to the end token, to the context; STOP before a run does not end it."""
    await start(dut)
    pair = Pair(dut)
    pair.connect(0.3, 0.3)
    pair.choose_token(9)
    for context, end_token, reason in ((9, 8, Stop.COUNT), (9, 9, Stop.END_TOKEN),
                                       (3, 8, Stop.CONTEXT_FULL)):
        packets = [pair.ends(context, end_token), Packet(Kind.STOP),
                   Packet(Kind.RUN, 0, RunFlag.RESET, 3, (1, 2))]
        *_, done = await pair.exchange(packets)
        assert done[:2] == [Kind.DONE, reason]
    await pair.disconnect()


@cocotb.test()
async def write_then_read(dut):
    """Every setting holds what was written, in its width; identity; counters count and clear."""
    await start(dut)
    pair = Pair(dut)
    pair.connect(0.2, 0.2)
    values = [(1 << r.bits - 1) - 1 - (r.signed << r.bits - 1) & 0xFFFFFFFF for r in SETTINGS]
    await pair.exchange([Packet(Kind.WRITE, Space.REGISTER, 0, 0, tuple(values))])
    values = [0 if r.name in EXTERNAL_SETTINGS else value
              for r, value in zip(SETTINGS, values, strict=True)]  # fmt: skip
    assert await pair.read(Space.REGISTER, 0, len(SETTINGS)) == values
    assert (await pair.read(Space.REGISTER, IDENTITY[0].address, 3))[2] == pair.c.identity

    address = {r.name: r.address for r in (*SETTINGS, *COUNTERS)}
    await pair.exchange([pair.ends(30, 5)])
    row = pair.c.cores * pair.c.lanes // 4
    for _ in range(3):
        await pair.exchange([Packet(Kind.STREAM, Space.ROW, 0, 0, (5,) * (4 * row))])
        await pair.exchange([Packet(Kind.RUN, 0, RunFlag.RESET, 2, (1, 2, 3))])
    assert await pair.read(Space.REGISTER, address["rows_streamed"], 1) == [12]
    assert await pair.read(Space.REGISTER, address["tokens"], 1) == [12]
    await pair.exchange([Packet(Kind.WRITE, Space.REGISTER, 0, address["tokens"], (99,))])
    assert await pair.read(Space.REGISTER, address["tokens"], 1) == [0]
    await pair.disconnect()


def test_link_protocol():
    run_cocotb(LinkHarness(configuration(CONFIGURATION)), __name__, "link_harness")
