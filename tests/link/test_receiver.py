"""The receiver against a model of the packets: every kind, every space, faults, rings, garbage."""

import cocotb
import pytest
from cocotb.triggers import ClockCycles, RisingEdge

from hdl.link.receiver import Receiver
from isa.configurations import Configuration, configuration
from isa.packets import Fault, Kind, RunFlag, Space
from tests.cocotb_support import STALLS, generator, parameters, run_cocotb, start
from tests.link.bench_receiver import Bench
from tests.link.packet_model import READABLE, ROWS, STREAMED, TABLE_WORDS, Packet

ROUNDS = 8


def _c() -> Configuration:
    return configuration(parameters()["configuration"])


class Packets:
    """Random packets of a configuration."""

    def __init__(self, c: Configuration, name: str) -> None:
        self.c, self.rng = c, generator(f"{name} {c.name}")

    def words(self, most: int) -> tuple[int, ...]:
        return tuple(self.rng.getrandbits(32) for _ in range(self.rng.randrange(most + 1)))

    def write(self, space: int | None = None) -> Packet:
        rng, each = self.rng, self.c.cores * self.c.lanes // 4
        space = rng.randrange(12) if space is None else space
        limit = ROWS * each if space == Space.ROW else TABLE_WORDS
        near = limit + rng.randrange(-8, 8)
        value = rng.choice((rng.randrange(limit), near, rng.getrandbits(32), (1 << 32) - 3))
        return Packet(Kind.WRITE, space, rng.getrandbits(16), value, self.words(3 * each))

    def stream(self, space: int | None = None) -> Packet:
        space = self.rng.choice((*STREAMED, *STREAMED, 4, 9, 77)) if space is None else space
        each = self.c.cores * self.c.lanes // 4 if space == Space.ROW else self.c.vector_lanes // 2
        payload = self.words(4 * each)
        if self.rng.random() < 0.7:  # whole entries
            payload = payload[: len(payload) // each * each]
        return Packet(Kind.STREAM, space, 0, self.rng.getrandbits(32), payload)

    def read(self) -> Packet:
        rng = self.rng
        space = rng.choice((*READABLE, rng.randrange(256)))
        return Packet(Kind.READ, space, 0, rng.getrandbits(32), (), rng.getrandbits(32))

    def run(self, length: int | None = None) -> Packet:
        rng, most = self.rng, self.c.context
        if length is None:
            length = rng.choice((1, rng.randint(1, most), most, 0, most + 1, most + 40))
        payload = tuple(rng.getrandbits(32) for _ in range(length))
        return Packet(Kind.RUN, rng.randrange(256), rng.getrandbits(16), rng.getrandbits(32),
                      payload)

    def unknown(self) -> Packet:
        known = set(range(1, 6))
        kind = self.rng.choice([k for k in range(256) if k not in known])
        return Packet(kind, self.rng.randrange(256), 0, self.rng.getrandbits(32), self.words(40))

    def stop(self) -> Packet:
        return Packet(Kind.STOP, self.rng.randrange(256), 0, 0, self.words(3))

    def any_but_run(self) -> Packet:
        makers = (self.write, self.stream, self.read, self.unknown, self.stop)
        return self.rng.choice(makers)()


@cocotb.test()
async def every_packet(dut):
    """Packets of all kinds and spaces, refused ones among them, before and during runs."""
    await start(dut)
    for idle, stall in STALLS:
        packets = Packets(_c(), f"every packet {idle} {stall}")
        bench = Bench(dut, packets.c, idle, stall)
        for _ in range(ROUNDS):
            quiet = [packets.any_but_run() for _ in range(8)]
            await bench.send([*quiet, packets.run()])
            if bench.running:
                await bench.send([packets.any_but_run() for _ in range(4)])
                await bench.send([packets.run(), packets.any_but_run(), packets.run(1)])
                bench.end_run()
                await ClockCycles(dut.clk, 2)
        bench.stop()


@cocotb.test()
async def every_space(dut):
    """WRITE to each memory, and every address bit of a row write."""
    await start(dut)
    packets = Packets(_c(), "every space")
    bench = Bench(dut, packets.c, 0.1, 0.1)
    for space in range(12):
        await bench.send([packets.write(space) for _ in range(6)])
    each = packets.c.cores * packets.c.lanes // 4
    for bit in range(20):
        value = (each << bit) + each - 1  # the last word of a row and the first of the next
        await bench.send([Packet(Kind.WRITE, Space.ROW, 0, value, packets.words(each))])
    bench.stop()


@cocotb.test()
async def faults(dut):
    """Each refusal, its payload dropped, the next packet served."""
    await start(dut)
    packets = Packets(_c(), "faults")
    most = packets.c.context
    bench = Bench(dut, packets.c, 0.2, 0.4)
    refused = [
        (packets.unknown(), Fault.UNKNOWN_KIND),
        (Packet(Kind.WRITE, Space.VECTOR, 0, 5, (1, 2, 3)), Fault.UNKNOWN_SPACE),
        (Packet(Kind.WRITE, 11, 0, 5, (4, 5)), Fault.UNKNOWN_SPACE),
        (Packet(Kind.READ, Space.PROGRAM, 0, 5, (), 3), Fault.UNKNOWN_SPACE),
        (Packet(Kind.STREAM, Space.VECTOR, 0, 0, (7,) * 9), Fault.UNKNOWN_SPACE),
        (packets.run(0), Fault.PROMPT_TOO_LONG),
        (packets.run(most + 1), Fault.PROMPT_TOO_LONG),
    ]
    good = Packet(Kind.WRITE, Space.EXP2, 0, 3, (0x12345678,))
    for packet, fault in refused:
        bench.expected.take(packet, False)
        assert bench.expected.events == [("fault", fault)], "the model"
        bench.expected.events.clear()
        await bench.send([packet, good])
    await bench.send([packets.run(1)])
    assert bench.running
    busy = [Packet(Kind.READ, space, 0, 7, (), 1) for space in (Space.ROW, Space.VECTOR)]
    for packet in (packets.run(1), packets.run(0), *busy):
        await bench.send([packet, good, Packet(Kind.READ, Space.REGISTER, 0, 8, (), 1)])
    bench.stop()


@cocotb.test()
async def longest_prompt(dut):
    """A prompt of the whole context is taken before the sequencer takes a token of it."""
    await start(dut)
    packets = Packets(_c(), "longest prompt")
    for flags in range(4):
        bench = Bench(dut, packets.c, 0.0, 0.0)
        bench.drain = False
        run = packets.run(packets.c.context)
        await bench.send([Packet(Kind.RUN, 0, flags, run.value, run.payload)])
        assert bench.running and not bench.prompt
        assert dut.reset_position.value == bool(flags & RunFlag.RESET)
        assert dut.send_logits.value == bool(flags & RunFlag.LOGITS)
        bench.drain = True
        await bench.send([])
        bench.stop()
        dut.running.value = 0
        await RisingEdge(dut.clk)


@cocotb.test()
async def full_rings_wait(dut):
    """A ring without room stops the link before the entry's first word, and only there."""
    await start(dut)
    packets = Packets(_c(), "full rings")
    for space in STREAMED:
        each = {Space.ROW: packets.c.cores * packets.c.lanes // 4,
                Space.PARAMETER: packets.c.vector_lanes // 2}[space]
        bench = Bench(dut, packets.c, 0.0, 0.0)
        bench.stall_rings, bench.ready[space] = 1.0, False
        payload = tuple(packets.rng.getrandbits(32) for _ in range(3 * each))
        packet = Packet(Kind.STREAM, space, 0, 0, payload)
        bench.expected.take(packet, False)
        bench.source.put(packet.words)
        for entry in range(3):
            await ClockCycles(dut.clk, 3 * each + 20)
            taken = len(bench.source.cycles)
            assert taken == 3 + entry * each, f"{taken} words taken, {entry} entries had room"
            bench.ready[space] = True
        await ClockCycles(dut.clk, 3 * each + 20)
        bench.check()
        bench.stop()


@cocotb.test()
async def garbage_never_hangs(dut):
    """Random words: every one is taken within bounded time while the outputs are served."""
    await start(dut)
    for number in range(8):
        packets = Packets(_c(), f"garbage {number}")
        rng = packets.rng
        bench = Bench(dut, packets.c, 0.0, 0.3)
        words = [rng.choice((rng.getrandbits(32), rng.randrange(6), rng.randrange(2000)))
                 for _ in range(600)]
        bench.source.put(words)
        for _ in range(600 * 60):
            if len(bench.source.cycles) == len(words):
                break
            if bench.running and rng.random() < 0.02:
                bench.end_run()
            await RisingEdge(dut.clk)
        assert len(bench.source.cycles) == len(words), f"{number}: the link hangs"
        bench.stop()
        dut.rst.value = 1
        dut.running.value = 0
        await ClockCycles(dut.clk, 2)
        dut.rst.value = 0
        await RisingEdge(dut.clk)
    # After the reset everything works.
    bench = Bench(dut, packets.c, 0.2, 0.2)
    await bench.send([packets.write(), packets.stream(), packets.read(), packets.run(3)])
    bench.stop()


@pytest.mark.parametrize("name", ["tiny", "small"])
def test_receiver(name):
    run_cocotb(Receiver(configuration(name)), __name__, f"receiver_{name}", {"configuration": name})
