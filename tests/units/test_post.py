"""hdl.units.post against golden.units.post: every kind of POST instruction, with stalls."""

import cocotb
import pytest
from amaranth.hdl import signed
from cocotb.triggers import ClockCycles, RisingEdge

from hdl.lib.shapes import scalar_layout, settings_layout, sums_layout, tile_layout, word_layout
from hdl.units.post.post import Post
from hdl.units.post.stages import EXPONENT_READ, STAGES
from isa.configurations import configuration
from isa.instructions import POST
from tests.cocotb_support import (
    STALLS,
    Sink,
    Source,
    generator,
    pack,
    parameters,
    run_cocotb,
    start,
    unpack,
)
from tests.units.bench_post import RING_BASE, RING_MASK, Case, World

CASES = 60


class Bench:
    """Plays the memories, checks every write and every done."""

    def __init__(
        self, dut, world: World, idle: float, stall: float, stream_idle: float | None = None
    ) -> None:
        self.dut, self.world, self.c = dut, world, world.c
        self.rng = generator(f"bench {idle} {stall}")
        self.stream_idle = idle if stream_idle is None else stream_idle
        self.cases: list[Case] = []
        self.sums: list = []
        self.vector = list(world.initial_vector)
        self.ring: dict[int, tuple[int, ...]] = {}
        self.written = self.taken = self.popped = self.completed = 0
        self.writes, self.magnitudes, self.maxima = [], [], []
        self.joins = 0, 0  # register and join of the next cycle's magnitude
        self.saturations = self.stream_stalls = self.link_stalls = self.wait_stalls = 0
        self.write_cycles: list[int] = []
        self.done_cycles: list[int] = []
        self.pop_cycles: list[int] = []
        self.cycle = 0
        dut.position.value = world.position
        dut.send_logits.value = int(world.send_logits)
        dut.settings.value = pack(
            settings_layout(), {"parameter_ring_base": RING_BASE, "parameter_ring_mask": RING_MASK}
        )
        self.instructions = Source(dut, "instruction", None, idle)
        self.tiles = Source(dut, "tiles", tile_layout(), idle)
        self.logits = Sink(dut, "logits", signed(24), stall)
        self.tasks = [cocotb.start_soon(self._play()), cocotb.start_soon(self._scalar())]

    async def run(self, cases: list[Case], timeout: int = 60_000) -> None:
        """Gives the unit all cases and waits until they are done; then nothing may be left."""
        self.cases = cases
        for case in cases:
            self.instructions.put([case.word])
            self.tiles.put(case.tiles)
            self.sums += case.sums
        for _ in range(timeout):
            if self.completed == len(cases):
                break
            await RisingEdge(self.dut.clk)
        assert self.completed == len(cases), f"{self.completed} of {len(cases)} done"
        await ClockCycles(self.dut.clk, 20)
        logits = [value for case in cases for value in case.logits]
        assert await self.logits.receive(len(logits)) == logits
        await self.logits.silent(1)
        self._check_written(cases, exact=True)
        assert self.saturations == sum(case.saturations for case in cases)
        assert self.popped == len(self.sums) and not int(self.dut.busy.value)
        for agent in (self.instructions, self.tiles, self.logits):
            agent.stop()
        for task in self.tasks:
            task.cancel()
        await RisingEdge(self.dut.clk)

    def _check_written(self, cases: list[Case], exact: bool) -> None:
        for name in ("writes", "magnitudes", "maxima"):
            expected = [item for case in cases for item in getattr(case, name)]
            got = getattr(self, name)
            for index, wanted in enumerate(expected):
                assert index < len(got), f"{name}[{index}] is missing at done: {wanted}"
                assert got[index] == wanted, f"{name}[{index}]: {wanted} expected, {got[index]}"
            assert not exact or len(got) == len(expected), f"{len(got)} {name}"

    async def _scalar(self) -> None:
        """A register file: data in the cycle of the address."""
        while True:
            mantissa, exponent = self.world.scalars[int(self.dut.scalar__address.value) % 16]
            self.dut.scalar__data.value = pack(
                scalar_layout(), {"mantissa": mantissa, "exponent": exponent}
            )
            await self.dut.scalar__address.value_change

    async def _play(self) -> None:
        dut, c, world = self.dut, self.c, self.world
        v = c.vector_lanes
        word, later = None, [[0] * v] * (STAGES["sums"] - 2)
        exponents = [0] * (EXPONENT_READ - 1)
        self._ring_ports()
        while True:
            await RisingEdge(dut.clk)
            self.cycle += 1
            if dut.tiles__valid.value == 1 and dut.tiles__ready.value == 1:
                self.popped += 1
                self.pop_cycles.append(self.cycle)
            # A tile that was popped is overwritten.
            dut.sums.value = _join(later.pop(0), c.accumulator_bits)
            sums = [self.rng.getrandbits(c.accumulator_bits) for _ in range(v)]
            if word is not None and word[0] == self.popped < len(self.sums):
                sums = self.sums[word[0]][word[1] * v : (word[1] + 1) * v].tolist()
                sums = [int(s) & ((1 << c.accumulator_bits) - 1) for s in sums]
            later.append(sums)
            word = (self.popped, int(dut.read_word.value))

            dut.parameters__data.value = self._parameter(int(dut.parameters__address.value))
            at = int(dut.exponents__address.value)
            dut.exponents__data.value = exponents.pop(0)
            exponents.append(self._read(world.exponents, at, 8))
            at = int(dut.residual__address.value)
            dut.residual__data.value = self._read(self.vector, at, 24)
            self._observe()
            self._ring()
            if dut.done.value == 1:
                self._check_done()

    def _observe(self) -> None:
        dut = self.dut
        if dut.vector_write__enable.value == 1:
            data = tuple(unpack(word_layout(self.c), int(dut.vector_write__data.value)))
            self.writes.append((int(dut.vector_write__address.value), data))
            self.vector[self.writes[-1][0]] = data
            self.write_cycles.append(self.cycle)
        if dut.magnitude_write__enable.value == 1:
            register = int(dut.magnitude_write__address.value)
            named, join = self.joins  # as they stood a cycle before
            assert named == register
            self.magnitudes.append((register, int(dut.magnitude_write__data.value), join))
        self.joins = int(dut.join_address.value), int(dut.magnitude_join.value)
        if dut.maximum_write__enable.value == 1:
            value = unpack(signed(24), int(dut.maximum_write__data.value))
            self.maxima.append((int(dut.maximum_write__address.value), value))
        self.saturations += int(dut.saturations.value)
        self.wait_stalls += int(dut.wait_stall.value)
        self.stream_stalls += int(dut.stream_stall.value)
        self.link_stalls += int(dut.link_stall.value)

    def _check_done(self) -> None:
        assert self.completed < len(self.cases), "one done too many"
        self.done_cycles.append(self.cycle)
        self.completed += 1
        finished = self.cases[: self.completed]
        self._check_written(finished, exact=False)
        tokens = [case.token for case in finished if case.token is not None]
        assert not tokens or int(self.dut.next_token.value) == tokens[-1]

    def _read(self, memory: list, at: int, bits: int) -> int:
        if at >= len(memory):
            return self.rng.getrandbits(bits * self.c.vector_lanes)
        return _join([value & ((1 << bits) - 1) for value in memory[at]], bits)

    def _parameter(self, at: int) -> int:
        if RING_BASE <= at <= RING_BASE + RING_MASK:
            return self._read([self.ring[at]] if at in self.ring else [], 0, 16)
        return self._read(self.world.parameters, at, 16)

    def _ring(self) -> None:
        """Frees what was taken (and forgets it), then a word may arrive."""
        if self.dut.parameter_take.value == 1:
            words = int(self.dut.parameter_take_words.value)
            assert self.taken + words <= self.written, "took what had not come"
            for k in range(self.taken, self.taken + words):
                del self.ring[RING_BASE + (k & RING_MASK)]
            self.taken += words
        streamed = self.world.streamed
        full = self.written - self.taken > RING_MASK
        if not full and self.written < len(streamed) and self.rng.random() >= self.stream_idle:
            self.ring[RING_BASE + (self.written & RING_MASK)] = streamed[self.written]
            self.written += 1
        self._ring_ports()

    def _ring_ports(self) -> None:
        self.dut.parameter_pointer.value = self.taken & RING_MASK
        self.dut.parameter_available.value = self.written - self.taken


def _join(values: list[int], bits: int) -> int:
    return sum(value << (bits * k) for k, value in enumerate(values))


def make_world(name: str, send_logits: bool = True) -> World:
    c = configuration(parameters()["configuration"])
    rng = generator(f"{name} {c.name}")
    return World(c, rng, rng.randrange(4 * c.vector_lanes), send_logits)


@cocotb.test()
async def random_instructions(dut):
    """All fields at random; every second run without logits."""
    await start(dut)
    for number, (idle, stall) in enumerate(STALLS):
        world = make_world(f"random {number}", send_logits=number % 2 == 0)
        bench = Bench(dut, world, idle, stall)
        cases = [world.random_case() for _ in range(CASES)]
        await bench.run(cases)
        assert bench.saturations and any(case.maxima for case in cases)


@cocotb.test()
async def in_place_residuals(dut):
    """Back to back, each reading the words that the one before wrote: its first or its last."""
    await start(dut)
    world = make_world("in place")
    v = world.c.vector_lanes
    cases, destination, words = [], 0, 1
    for k in range(80):
        residual = destination + world.rng.choice((0, words - 1))
        destination = residual if k % 2 else 60 * (k % 4 == 0)
        words = world.rng.choice((1, 2, 14))
        cases.append(
            world.random_case(
                use_residual=1, destination=destination, residual=residual, to_vector=1, to_host=0,
                dynamic_count=0, count=words * v, lane_offset=k % 2, stream=0, use_bias=0, gain=3,
                drop=1, shift=14,
            )
        )  # fmt: skip
    await Bench(dut, world, 0.0, 0.0).run(cases)


@cocotb.test()
async def argmax_takes_the_lowest_of_equals(dut):
    """Values from a handful, so that the largest comes often."""
    await start(dut)
    world = make_world("argmax")
    cases = [
        world.random_case(
            argmax=1, use_maximum=1, to_host=0, use_parameters=0, use_bias=0, stream=0, gain=1,
            drop=0, shift=7 + world.rng.randrange(25), scale=0, use_exponent=0, key_exponents=0,
            use_residual=0,
        )
        for _ in range(60)
    ]  # fmt: skip
    tied = [case for case in cases if case.writes
            and sum(w.count(case.maxima[0][1]) for _, w in case.writes) > 1]
    assert len(tied) > 10
    await Bench(dut, world, 0.2, 0.0).run(cases)


@cocotb.test()
async def a_slow_host_stalls_and_loses_nothing(dut):
    await start(dut)
    world = make_world("slow host")
    bench = Bench(dut, world, 0.0, 0.9)
    count = 5 * world.c.lanes + 3
    cases = [
        world.random_case(to_host=1, count=count, dynamic_count=0, stream=0, use_bias=0,
                          key_exponents=0, use_residual=0, segment=0)
        for _ in range(2)
    ]
    await bench.run(cases, timeout=30 * 2 * count)
    assert bench.link_stalls > count


@cocotb.test()
async def slow_parameters_stall_until_a_tile_has_all(dut):
    await start(dut)
    world = make_world("slow parameters")
    bench = Bench(dut, world, 0.0, 0.0, stream_idle=0.8)
    streamed = dict(stream=1, use_parameters=1, to_host=0)
    await bench.run([world.random_case(**streamed, use_bias=k % 2) for k in range(40)])
    assert bench.stream_stalls > len(world.streamed)


@pytest.mark.parametrize("name", ["tiny", "minimal", "ulx3s"])
def test_post(name):
    c = configuration(name)
    run_cocotb(Post(c), __name__, f"post_{name}", {"configuration": name})


def test_layouts():
    """The bench packs sums by itself: as the unit's layout does."""
    c = configuration("tiny")
    layout = sums_layout(c)
    values = [-1, 5, -(1 << 23), (1 << 23) - 1]
    masked = [value & ((1 << c.accumulator_bits) - 1) for value in values]
    assert pack(layout, values) == _join(masked, c.accumulator_bits)
    assert POST.layout().size == POST.bits
