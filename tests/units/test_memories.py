"""hdl.memory: vector memory, register files and ring credits against plain Python models."""

import cocotb
import pytest
from amaranth.hdl import signed
from cocotb.triggers import RisingEdge

from hdl.lib.shapes import word_layout
from hdl.memory.registers import MagnitudeFile, MaximumFile, ScalarFile
from hdl.memory.ring import Ring
from hdl.memory.vector import VectorMemory
from isa.configurations import configuration
from tests.cocotb_support import STALLS, generator, pack, run_cocotb, start

TINY = configuration("tiny")
CYCLES = 600
READERS = ("fire", "post", "vector_a", "vector_b")


@cocotb.test()
async def vector_memory(dut):
    """All ports at once: POST's writes always go first and nothing is lost."""
    await start(dut)
    depth, bits = TINY.vector_depth, word_layout(TINY).size
    for idle, stall in STALLS:
        rng = generator(f"vector memory {idle} {stall}")
        memory: dict[int, int] = {}
        asked: dict[str, int] = {}
        offered, accepted, refused = None, 0, 0
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
            loading = rng.random() < 0.3
            dut.loading.value = int(loading)
            following = {name: address() for name in (*READERS, "loader")}
            for name, at in following.items():
                getattr(dut, f"{name}__address").value = at
            await RisingEdge(dut.clk)
            for name, (at, expected) in asked.items():
                if expected is not None:
                    got = int(getattr(dut, f"{name}__data").value)
                    assert got == expected, f"{name}[{at}]: {expected:#x} expected, got {got:#x}"
            if loading:
                following["vector_b"] = following["loader"]
            else:
                del following["loader"]
            asked = {name: (at, memory.get(at)) for name, at in following.items()}
            ready = int(dut.vector_write__ready.value)
            assert ready == int(post is None)
            if post is not None:
                memory[post[0]] = post[1]
            if offered is not None and ready:
                memory[offered[0]] = offered[1]
                offered, accepted = None, accepted + 1
            elif offered is not None:
                refused += 1
        assert accepted > 50 and (refused > 0) == (stall > 0)


@cocotb.test()
async def magnitude_file(dut):
    """Two writers in one cycle, one of which may join; two readers."""
    await start(dut)
    rng = generator("magnitudes")
    registers = [0] * TINY.magnitudes
    for _ in range(CYCLES):
        one, other = rng.sample(range(TINY.magnitudes), 2)
        for name, at in (("post_write", one), ("vector_write", other)):
            enable, value = rng.getrandbits(1), rng.getrandbits(24)
            getattr(dut, f"{name}__enable").value = enable
            getattr(dut, f"{name}__address").value = at
            getattr(dut, f"{name}__data").value = value
            join = rng.getrandbits(1) if name == "post_write" else 0
            if name == "post_write":
                dut.post_join.value = join
            if enable:
                registers[at] = value | (registers[at] if join else 0)
        await RisingEdge(dut.clk)
        dut.post_write__enable.value = 0
        dut.vector_write__enable.value = 0
        reads = [rng.choice((one, other, rng.randrange(len(registers)))) for _ in range(2)]
        dut.fire__address.value, dut.vector__address.value = reads
        await RisingEdge(dut.clk)
        for name, at in zip(("fire", "vector"), reads, strict=True):
            assert int(getattr(dut, f"{name}__data").value) == registers[at], (name, at)


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
    """Random takes, frees and writes in the same cycle; full and empty come; sizes change."""
    await start(dut)
    rng = generator("ring")
    written = taken = freed = full = empty = 0
    for size, rush in ((1, 0.5), (8, 0.9), (8, 0.2), (64, 0.6), (64, 0.3)):
        base = size * rng.randrange(3, 7)
        dut.base.value, dut.mask.value = base, size - 1
        dut.take.value = dut.free.value = dut.write_done.value = 0
        await RisingEdge(dut.clk)
        for left in reversed(range(CYCLES)):
            fill = rng.random() < rush and left > 100  # at the end everything is taken and freed
            put = int(fill and written - freed < size)
            take = rng.random() < 0.4 and rng.randint(0, min(written - taken, 9))
            free = rng.random() < 0.4 and rng.randint(0, min(taken - freed, 9))
            dut.write_done.value = put
            dut.take.value, dut.take_amount.value = int(take > 0), take or rng.randrange(1 << 16)
            dut.free.value, dut.free_amount.value = int(free > 0), free or rng.randrange(1 << 16)
            await RisingEdge(dut.clk)
            assert int(dut.available.value) == written - taken
            assert int(dut.pointer.value) == taken % size
            assert int(dut.write_address.value) == base + written % size
            assert int(dut.write_ready.value) == int(written - freed < size)
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
