"""The bench of hdl.units.fire.fire: random instruction sequences, checked tile by tile."""

import cocotb
import numpy as np

from golden.units.fixed import code_exponent, encode, magnitude
from isa.instructions import FIRE, Opcode
from isa.schedule import EXACT_THRESHOLDS, SCHEDULES, Schedule, phase_schedule
from tests.cocotb_support import Source, generator, start
from tests.units.fire_driver import REGIONS, RING_BASE, RING_ROWS, Bench, Ring, drain

RESIDENT_ROWS = 192
STALLS = ((0.0, 0.0), (0.0, 0.9), (0.7, 0.0), (0.4, 0.4))


def random_values(rng, count: int) -> list[int]:
    size = rng.choice([0, 1, 6, 7, 8, 12, 23])
    sparse = rng.choice([0.0, 0.0, 0.7, 0.95])
    values = [rng.randint(-(2**size) + 1, 2**size - 1) for _ in range(count)]
    return [0 if rng.random() < sparse else v for v in values]


async def run_token(bench: Bench, instructions: int, stalls: tuple[float, float]) -> None:
    """A random sequence of instructions, as one token would have it."""
    c, rng, dut = bench.c, bench.rng, bench.dut
    idle, stall = stalls
    # Whatever the vectors' sizes, their rows must lie in the filled part of the memory.
    position, token = rng.randrange(3 * c.lanes), rng.randrange(RESIDENT_ROWS * c.cores)
    dut.position.value, dut.token.value = position, token
    await bench.edge
    ring = Ring(bench, idle)
    ring_task = cocotb.start_soon(ring.run())
    plans, tiles, stream_pointer = [], [], 0
    users = [-1] * REGIONS
    for _ in range(instructions):
        kind = rng.choice(["plain", "plain", "norm", "one_hot", "stream", "one_hot_stream"])
        region = rng.randrange(REGIONS)
        dynamic_count, dynamic_outputs = rng.random() < 0.3, rng.random() < 0.3
        count = position + 1 if dynamic_count else rng.randint(1, 4 * c.neuron_lanes)
        limit = min(RESIDENT_ROWS * c.cores // 2, bench.region_words * c.vector_lanes)
        if count > limit:
            count, dynamic_count = limit, False
        outputs = position + 1 if dynamic_outputs else rng.randint(1, 4 * c.lanes)
        rows = -(-count // c.cores)
        tile_count = -(-outputs // c.lanes)
        fields = {
            "opcode": int(Opcode.FIRE), "source": region * bench.region_words,
            "magnitude": region, "outputs": rng.randrange(100) if dynamic_outputs else outputs,
            "count": rng.randrange(100) if dynamic_count else count,
            "dynamic_count": int(dynamic_count), "dynamic_outputs": int(dynamic_outputs),
            "one_hot": int("one_hot" in kind), "stream": int("stream" in kind),
            "norm": int(kind == "norm"), "first_step": rng.choice(list(bench.schedules)),
        }  # fmt: skip
        values = random_values(rng, count)
        exponent = code_exponent(magnitude(values))
        codes = encode(values, exponent)
        if kind == "one_hot":
            stride = rng.randint(0, 3)
            base = rng.randint(0, max(0, RESIDENT_ROWS - token // c.cores - 1 - 3 * stride))
            row = token // c.cores
            if base + row + (tile_count - 1) * stride >= RESIDENT_ROWS:
                base, stride = 0, 0

            def plan_rows(t, core=token % c.cores, b=base + row, s=stride):
                return bench.rows[core, b + t * s][None, :]

            codes, exponent, values = np.array([1]), None, None
        elif kind == "one_hot_stream":
            stride, base = 1, rng.randrange(100)
            pointer = stream_pointer

            def plan_rows(t, p=pointer):
                return bench.rows[0, RING_BASE + (p + t) % RING_ROWS][None, :]

            stream_pointer += tile_count
            codes, exponent, values = np.array([1]), None, None
        elif kind == "stream":
            if rows > RING_ROWS:
                continue
            stride, base, pointer = rows, rng.randrange(100), stream_pointer

            def plan_rows(t, p=pointer, s=stride, n=count):
                i = np.arange(n)
                offset = (p + t * s + i // c.cores) % RING_ROWS
                return bench.rows[i % c.cores, RING_BASE + offset]

            stream_pointer += stride * tile_count
        else:
            stride = rng.randint(0, max(0, (RESIDENT_ROWS - rows) // tile_count))
            base = rng.randint(0, RESIDENT_ROWS - rows - stride * (tile_count - 1))

            def plan_rows(t, b=base, s=stride, n=count):
                return bench.neuron_rows(n, b + t * s)

        fields |= {"row_base": base, "tile_stride": stride}
        tiles += bench.expect(
            codes, exponent, kind == "norm", outputs, plan_rows,
            stride if "stream" in kind else 0, fields["first_step"],
        )  # fmt: skip
        plans.append((fields, region, values))
    first_done = bench.done_count

    async def issue() -> None:
        source = Source(dut, "instruction", FIRE.layout(), idle)
        for number, (fields, region, values) in enumerate(plans):
            if values is not None:
                # Overwritten as soon as its last reader is done.
                await bench.until_done(first_done + users[region] + 1)
                await bench.write_vector(region, values)
                users[region] = number
            await source.send([fields])
        source.stop()

    issuer = cocotb.start_soon(issue())
    await drain(bench, tiles, ring, stall)
    await issuer
    await bench.until_done(first_done + len(plans))
    ring.stop = True
    await ring_task
    for _ in range(10):
        await bench.edge
    assert not int(dut.tiles__valid.value)
    for name, wanted in bench.expected_counts.items():
        assert bench.counted[name] == wanted, f"{name}: {bench.counted[name]}, not {wanted}"


async def _sequences(dut, name: str, schedules: list[Schedule], instructions: int) -> None:
    await start(dut)
    bench = Bench(dut, name, schedules)
    await bench.prepare()
    cocotb.start_soon(bench.watch())
    for stalls in STALLS:
        await run_token(bench, instructions, stalls)
    dut._log.info(f"{name}: {bench.counted}")


@cocotb.test()
async def phase_sequences(dut):
    await _sequences(dut, "phase", [SCHEDULES["phase"]()], 24)


@cocotb.test()
async def unary_sequences(dut):
    await _sequences(dut, "unary", [SCHEDULES["unary"]()], 6)


@cocotb.test()
async def populations_with_thresholds_of_their_own(dut):
    """Raised thresholds lose part of the codes, differently from one instruction to the next."""
    rng = generator("fire thresholds")
    raised = [phase_schedule([least + rng.randrange(least + 2) for least in EXACT_THRESHOLDS])
              for _ in range(5)]  # fmt: skip
    await _sequences(dut, "populations", [phase_schedule(), *raised], 24)


@cocotb.test()
async def cores_stay_busy(dut):
    """512 random codes into many tiles: the cores gather an event in at least 85 % of all cycles.

    The bound holds where four cores share sixteen neurons; the others have more neurons a core or
    fewer, and there the tiles only have to be right.
    """
    await start(dut)
    bench = Bench(dut, "phase", [SCHEDULES["phase"]()])
    await bench.prepare()
    cocotb.start_soon(bench.watch())
    c, tiles = bench.c, 16
    count = min(512, 128 * c.cores, bench.region_words * c.vector_lanes)
    values = [bench.rng.randint(-127, 127) for _ in range(count - 1)] + [127]
    await bench.write_vector(0, values)
    fields = {"opcode": int(Opcode.FIRE), "count": count, "outputs": tiles * c.lanes}
    codes = np.array(values)
    expected = bench.expect(
        codes, 0, False, tiles * c.lanes, lambda t: bench.neuron_rows(count, 0), 0
    )
    source = Source(dut, "instruction", FIRE.layout())
    await source.send([fields])
    await drain(bench, expected, None, 0.0)
    busy = bench.counted["events"] / (c.cores * bench.counted["gather_active"])
    dut._log.info(f"{count} neurons, {tiles} tiles: {busy:.3f} busy, {bench.counted}")
    if (c.cores, c.neuron_lanes) == (4, 16):
        assert busy >= 0.85, f"cores busy in {busy:.3f} of all cycles"
