"""hdl.memory: vector memory, register files and ring credits against plain Python models."""

from collections import deque

import cocotb
import pytest
from amaranth.hdl import signed
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge

from hdl.lib.shapes import word_layout
from hdl.memory.registers import MagnitudeFile, MaximumFile, ScalarFile
from hdl.memory.ring import ROOM_LATENCY, SPARE, Ring
from hdl.memory.vector import VectorMemory
from isa.configurations import configuration
from isa.packets import Space
from tests.cocotb_support import STALLS, generator, pack, run_cocotb, start
from tests.units.groups import grouped

TINY = configuration("tiny")
CYCLES = 600
READERS = ("post", "fire", "vector")  # in their order


@cocotb.test()
async def vector_memory(dut):
    """All ports at once: reads and writes go in their order and nothing is lost."""
    await start(dut)
    depth, bits = TINY.vector_depth, word_layout(TINY).size
    memory = await rotation_table(dut)
    for idle, stall in STALLS:
        rng = generator(f"vector memory {idle} {stall}")
        asked: tuple[str, int] | None = None
        offered, accepted, refused = None, 0, 0
        answered = dict.fromkeys((*READERS, "loader"), 0)
        for _ in range(CYCLES):
            hot = rng.randrange(0, depth, 64)  # often the same few words, for collisions

            def address(hot=hot, rng=rng):
                return rng.choice((hot, hot + 1, rng.randrange(depth)))

            post = (address(), rng.getrandbits(bits)) if rng.random() < stall else None
            dut.post_write__enable.value = int(post is not None)
            dut.post_write__address.value, dut.post_write__data.value = post or (hot, 0)
            if offered is None and rng.random() >= idle:
                offered = (address(), rng.getrandbits(bits))
            dut.vector_write__valid.value = int(offered is not None)
            dut.vector_write__payload.value = (offered or (0, 0))[0] | (offered or (0, 0))[1] << 16
            loading = rng.random() < 0.1
            dut.loading.value = int(loading)
            wanted = {name: rng.random() < 0.5 for name in READERS}
            following = {name: address() for name in (*READERS, "loader")}
            following["vector"] = rng.randrange(depth + TINY.rotation_depth // 2)
            for name, at in following.items():
                getattr(dut, f"{name}__address").value = at
                if name in wanted:
                    getattr(dut, f"{name}__request").value = int(wanted[name])
            await RisingEdge(dut.clk)
            if asked is not None and asked[1] in memory:
                name, at = asked
                got = int(getattr(dut, f"{name}__data").value)
                assert got == memory[at], f"{name}[{at}]: {memory[at]:#x} expected, got {got:#x}"
                answered[name] += 1
            turn = next((name for name in READERS if wanted[name]), None)
            for name in READERS[1:]:
                granted = int(getattr(dut, f"{name}__grant").value)
                assert not wanted[name] or granted == (name == turn), name
            reader = "loader" if loading else turn
            asked = None if reader is None else (reader, following[reader])
            ready = int(dut.vector_write__ready.value)
            assert ready == int(post is None)
            written = post or (offered if offered is not None and ready else None)
            if written is not None:
                if asked is not None and asked[1] == written[0]:
                    asked = None  # a read in the cycle of a write to its word is not defined
                memory[written[0]] = written[1]
            if offered is not None and ready:
                offered, accepted = None, accepted + 1
            elif offered is not None:
                refused += 1
        assert accepted > 50 and (refused > 0) == (stall > 0)
        assert min(answered.values()) > 10, answered


async def rotation_table(dut) -> dict[int, int]:
    """Fills the rotation table over the loader's bus, in random order; memory words behind it."""
    rng = generator("rotation table")
    depth, lanes = TINY.vector_depth, TINY.vector_lanes
    pairs = TINY.rotation_depth * lanes // 2
    memory: dict[int, int] = dict.fromkeys(range(depth, depth + pairs // lanes), 0)
    for name in READERS:
        getattr(dut, f"{name}__request").value = 0
    dut.loading.value = dut.post_write__enable.value = dut.vector_write__valid.value = 0
    numbers = rng.sample(range(pairs), pairs)
    other = Space.PARAMETER  # no write of this memory
    for number in (*numbers, pairs, pairs + 1, *numbers[:5]):
        foreign = rng.random() < 0.2 and number in numbers[:5]
        data = rng.getrandbits(32)
        dut.tables__enable.value = 1
        dut.tables__space.value = (other if foreign else Space.ROTATION).value
        dut.tables__address.value, dut.tables__data.value = number, data
        await RisingEdge(dut.clk)
        if not foreign and number < pairs:
            word, element = depth + number // lanes, number % lanes * 24
            pair = (data & 0xFFF) | (data >> 16 & 0xFFF) << 12
            memory[word] = memory[word] & ~(0xFFFFFF << element) | pair << element
    dut.tables__enable.value = 0
    for _ in range(2):
        await RisingEdge(dut.clk)
    return memory


@cocotb.test()
async def magnitude_file(dut):
    """Two writers in one cycle, one of which may join; two readers."""
    await start(dut)
    rng = generator("magnitudes")
    registers = [0] * TINY.magnitudes
    for _ in range(CYCLES):
        one, other = rng.sample(range(TINY.magnitudes), 2)
        join = rng.getrandbits(1)
        dut.post_join.value, dut.join_address.value = join, one
        await RisingEdge(dut.clk)
        dut.post_join.value = rng.getrandbits(1)  # of the next cycle's write, which there is not
        dut.join_address.value = rng.randrange(TINY.magnitudes)
        for name, at in (("post_write", one), ("vector_write", other)):
            enable, value = rng.getrandbits(1), rng.getrandbits(24)
            getattr(dut, f"{name}__enable").value = enable
            getattr(dut, f"{name}__address").value = at
            getattr(dut, f"{name}__data").value = value
            if enable:
                joins = join and name == "post_write"
                registers[at] = value | (registers[at] if joins else 0)
        await RisingEdge(dut.clk)
        dut.post_write__enable.value = 0
        dut.vector_write__enable.value = 0
        reads = [rng.choice((one, other, rng.randrange(len(registers)))) for _ in range(2)]
        dut.fire__address.value, dut.vector__address.value = reads
        await RisingEdge(dut.clk)
        for name, at in zip(("fire", "vector"), reads, strict=True):
            data = int(getattr(dut, f"{name}__data").value)
            assert data == grouped(registers[at], 24), (name, at)


@cocotb.test()
async def register_file(dut):
    """A read sees the writes of earlier cycles, not that of its own."""
    await start(dut)
    rng = generator("registers")
    registers: dict[int, int] = {}
    width = len(dut.write__data)
    for _ in range(CYCLES):
        at, read = rng.randrange(16), rng.randrange(16)
        read = rng.choice((at, read))
        enable, value = rng.getrandbits(1), rng.getrandbits(width)
        dut.write__enable.value, dut.write__address.value = enable, at
        dut.write__data.value, dut.read__address.value = value, read
        await RisingEdge(dut.clk)
        if read in registers:
            assert int(dut.read__data.value) == registers[read]
        if enable:
            registers[at] = value
    assert len(registers) == 16


@cocotb.test()
async def ring(dut):
    """Random takes, frees and writes in the same cycle; full and empty come; sizes change.

    Room is never promised where there is none, is seen ROOM_LATENCY cycles after it came, and lasts
    while there is much of it."""
    await start(dut)
    rng = generator("ring")
    written = taken = freed = full = empty = 0
    for size, rush in ((1, 0.5), (8, 0.9), (8, 0.2), (64, 0.6), (64, 0.3)):
        base = size * rng.randrange(3, 7)
        dut.base.value, dut.mask.value = base, size - 1
        dut.take.value = dut.free.value = dut.write_done.value = 0
        await ClockCycles(dut.clk, ROOM_LATENCY)
        used, since = deque([0, 0], 2), 9  # two cycles ago; cycles since an entry came
        for left in reversed(range(CYCLES)):
            fill = rng.random() < rush and left > 100  # at the end everything is taken and freed
            take = rng.random() < 0.4 and rng.randint(0, min(written - taken, 9))
            free = rng.random() < 0.4 and rng.randint(0, min(taken - freed, 9))
            dut.take.value, dut.take_amount.value = int(take > 0), take or rng.randrange(1 << 16)
            dut.free.value, dut.free_amount.value = int(free > 0), free or rng.randrange(1 << 16)
            await FallingEdge(dut.clk)
            ready = int(dut.write_ready.value)
            put = int(fill and ready)
            dut.write_done.value = put
            await RisingEdge(dut.clk)
            assert int(dut.available.value) == written - taken
            assert int(dut.pointer.value) == taken % size
            assert int(dut.write_address.value) == base + written % size
            assert not ready or written - freed < size
            if (used[0] < size and since > ROOM_LATENCY - 1) or used[0] <= size - 1 - SPARE:
                assert ready, "there was room for long enough"
            used.append(written - freed)
            since = 1 if put else since + 1
            full += written - freed == size > 1
            empty += written == taken
            written, taken, freed = written + put, taken + take, freed + free
        assert written == taken == freed > 2 * size
    assert full > 20 and empty > 20, "both ends of the count must have been met"


def test_vector_memory():
    run_cocotb(VectorMemory(TINY), __name__, "vector_memory_tiny", testcase="vector_memory")


def test_magnitude_file():
    run_cocotb(MagnitudeFile(TINY), __name__, "magnitudes_tiny", testcase="magnitude_file")


@pytest.mark.parametrize("unit", [MaximumFile, ScalarFile])
def test_register_file(unit):
    run_cocotb(unit(TINY), __name__, f"{unit.__name__}_tiny", testcase="register_file")


def test_ring():
    run_cocotb(Ring(18), __name__, "ring_18", testcase="ring")


def test_a_word_of_vector_memory_is_packed_by_lanes():
    assert pack(word_layout(TINY), [-1, 0, 0, 1]) == (1 << 24) - 1 | 1 << 72
    assert pack(signed(24), -1) == (1 << 24) - 1
