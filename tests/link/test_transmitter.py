"""The transmitter: every packet, the order of logits, token and end, reads; stalls everywhere."""

import cocotb
from amaranth.hdl import signed
from cocotb.triggers import ClockCycles, RisingEdge

from hdl.link.receiver import read_request_layout
from hdl.link.transmitter import Transmitter, read_latency
from isa.configurations import configuration
from isa.formats import VECTOR
from isa.packets import HEADER, HEADER_WORDS, Fault, Kind, Space
from isa.registers import Stop
from tests.cocotb_support import STALLS, Sink, Source, generator, run_cocotb, start

RUNS = 6


def words_of(kind: Kind, value: int, payload=(), flags: int = 0) -> list[int]:
    """The link words of a packet."""
    header = HEADER.pack(kind=kind, flags=flags, value=value, length=len(payload))
    head = [header >> 32 * i & 0xFFFFFFFF for i in range(HEADER_WORDS)]
    return head + [word & 0xFFFFFFFF for word in payload]


def contents(space: int, address: int) -> int:
    """What the bench's memories hold: any word, different everywhere."""
    return (space * 0x9E3779B1 + address * 0x85EBCA6B ^ address >> 3) & 0xFFFFFFFF


READ_LATENCY = read_latency(configuration("tiny"))


class Bench:
    """Plays the sequencer, the post unit, the receiver and memories of READ_LATENCY cycles."""

    def __init__(self, dut, idle: float, stall: float) -> None:
        self.dut = dut
        self.rng = generator(f"bench {idle} {stall}")
        self.link = Sink(dut, "link", 32, stall)
        self.logits = Source(dut, "logits", signed(VECTOR.bits), idle)
        self.token = Source(dut, "token", 18, idle)
        self.finished = Source(dut, "finished", Stop, idle)
        self.fault = Source(dut, "fault", Fault, idle)
        self.read = Source(dut, "read", read_request_layout(), idle)
        self._memory = cocotb.start_soon(self._remember())

    async def packet(self) -> tuple[Kind, list[int]]:
        """The next packet: its kind and all its words."""
        head = await self.link.receive(HEADER_WORDS)
        fields = HEADER.unpack(sum(word << 32 * i for i, word in enumerate(head)))
        return Kind(fields["kind"]), head + await self.link.receive(fields["length"])

    async def expect(self, words: list[int]) -> None:
        _, got = await self.packet()
        assert got == words, f"{words} expected, {got}"

    def request(self, space: int, address: int, length: int) -> list[int]:
        """Offers a read; the words of its answer."""
        self.read.put([{"space": space, "address": address, "length": length}])
        return words_of(Kind.DATA, address, [contents(space, address + i) for i in range(length)])

    async def stop(self) -> None:
        await self.link.silent(20)
        self._memory.cancel()
        for agent in (self.link, self.logits, self.token, self.finished, self.fault, self.read):
            agent.stop()
        await RisingEdge(self.dut.clk)

    async def _remember(self) -> None:
        """A word comes READ_LATENCY cycles after its address if `reading` is set in all of them."""
        dut, steps = self.dut, []
        while True:
            await RisingEdge(dut.clk)
            now = int(dut.read_space.value), int(dut.port__address.value)
            reading = dut.reading.value == 1
            steps = [*steps, now][-READ_LATENCY:] if reading else []
            word = self.rng.getrandbits(32)
            if len(steps) == READ_LATENCY:
                word = contents(*steps[0])
            dut.port__data.value = word


@cocotb.test()
async def one_after_the_other(dut):
    """Each kind of packet by itself, word for word."""
    await start(dut)
    for idle, stall in STALLS:
        bench = Bench(dut, idle, stall)
        rng = bench.rng
        for _ in range(RUNS):
            for fault in Fault:
                bench.fault.put([fault])
                await bench.expect(words_of(Kind.ERROR, fault))
            for reason in Stop:
                bench.finished.put([reason])
                await bench.expect(words_of(Kind.DONE, reason))
            token, position = rng.getrandbits(18), rng.getrandbits(16)
            dut.token_position.value = position
            bench.token.put([token])
            await bench.expect(words_of(Kind.TOKEN, token, flags=position))
            count = rng.choice((1, 2, rng.randrange(1, 60)))
            logits = [rng.choice((VECTOR.minimum, VECTOR.maximum, -1, 0, rng.randint(-999, 999)))
                      for _ in range(count)]
            dut.logits_count.value = count
            bench.logits.put(logits)
            await bench.expect(words_of(Kind.LOGITS, count, logits))
            space = rng.choice((Space.ROW, Space.VECTOR, Space.REGISTER))
            address = rng.choice((0, rng.getrandbits(32) >> 1))
            for length in (0, 1, rng.randrange(12)):
                await bench.expect(bench.request(space, address, length))
        await bench.stop()


@cocotb.test()
async def a_run(dut):
    """Logits, token and end offered at once come in this order, with reads and faults between."""
    await start(dut)
    for idle, stall in STALLS:
        bench = Bench(dut, idle, stall)
        rng = bench.rng
        for _ in range(RUNS):
            count, token, reason = rng.randrange(1, 40), rng.getrandbits(18), rng.choice(list(Stop))
            logits = [rng.randint(VECTOR.minimum, VECTOR.maximum) for _ in range(count)]
            fault = rng.choice(list(Fault))
            dut.logits_count.value = count
            dut.token_position.value = 7
            if rng.random() < 0.5:
                other = bench.request(Space.VECTOR, rng.randrange(99), rng.randrange(6))
            else:
                other = words_of(Kind.ERROR, fault)
                bench.fault.put([fault])
            if rng.random() < 0.5:  # the others then wait for the end of this packet
                while dut.link__valid.value == 0:
                    await RisingEdge(dut.clk)
            bench.logits.put(logits)
            while dut.logits__valid.value == 0:
                await RisingEdge(dut.clk)
            bench.token.put([token])
            while dut.token__valid.value == 0:
                await RisingEdge(dut.clk)
            bench.finished.put([reason])
            got = [await bench.packet() for _ in range(4)]
            assert sorted(words for _, words in got) == sorted(
                (
                    words_of(Kind.LOGITS, count, logits), words_of(Kind.TOKEN, token, flags=7),
                    words_of(Kind.DONE, reason), other,
                )
            )  # fmt: skip
            order = [kind for kind, _ in got if kind not in (Kind.DATA, Kind.ERROR)]
            assert order == [Kind.LOGITS, Kind.TOKEN, Kind.DONE]
        await bench.stop()


@cocotb.test()
async def everything_at_once(dut):
    """All inputs busy: no packet is cut or lost, and each kind keeps its own order."""
    await start(dut)
    dut.token_position.value = 0
    dut.logits_count.value = 1
    for idle, stall in STALLS:
        bench = Bench(dut, idle, stall)
        rng = bench.rng
        due = {kind: [] for kind in (Kind.DATA, Kind.TOKEN, Kind.LOGITS, Kind.DONE, Kind.ERROR)}
        for _ in range(30):
            token, logit, reason = rng.getrandbits(18), rng.randint(-99, 99), rng.choice(list(Stop))
            fault = rng.choice(list(Fault))
            due[Kind.DATA].append(bench.request(9, rng.randrange(999), rng.randrange(4)))
            for source, kind, value in ((bench.token, Kind.TOKEN, token),
                                        (bench.finished, Kind.DONE, reason),
                                        (bench.fault, Kind.ERROR, fault)):
                source.put([value])
                due[kind].append(words_of(kind, value))
            bench.logits.put([logit])
            due[Kind.LOGITS].append(words_of(Kind.LOGITS, 1, [logit]))
        got = {kind: [] for kind in due}
        for _ in range(30 * len(due)):
            kind, words = await bench.packet()
            got[kind].append(words)
        assert got == due
        await bench.stop()


@cocotb.test()
async def silent_by_itself(dut):
    await start(dut)
    bench = Bench(dut, 0.0, 0.0)
    await ClockCycles(dut.clk, 50)
    await bench.stop()


def test_transmitter():
    run_cocotb(Transmitter(configuration("tiny")), __name__, "transmitter_tiny")
