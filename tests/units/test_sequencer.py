"""The sequencer on random programs with legal waits, and runs that end for every reason."""

import cocotb
import pytest

from hdl.lib.queues import QUEUE_WORDS
from hdl.units.sequencer.sequencer import Sequencer
from isa.configurations import Configuration, configuration
from isa.registers import Stop
from tests.cocotb_support import STALLS, generator, parameters, run_cocotb, start
from tests.units.bench_sequencer import Bench
from tests.units.sequencer_model import END, UNITS, Run, instruction, program

PROGRAMS = 5
RUNS = 3


def _c() -> Configuration:
    return configuration(parameters()["configuration"])


def _tokens(rng, count: int, end_token: int) -> list[int]:
    """Next tokens, one of ten the end token."""
    return [end_token if rng.random() < 0.1 else rng.getrandbits(18) for _ in range(count)]


def _settings(rng, context: int) -> dict[str, int]:
    return dict(
        context=context, end_token=rng.getrandbits(18), end_token_enable=rng.getrandbits(1),
        rotation_stride=rng.getrandbits(8), key_stride=rng.getrandbits(16),
    )  # fmt: skip


def _run(rng, settings: dict[str, int], reset: bool) -> Run:
    prompt = [rng.getrandbits(18) for _ in range(rng.choice((1, rng.randint(1, 9))))]
    generate = rng.choice((0, 1, rng.randint(1, 6)))
    stop_after = rng.randrange(len(prompt) + 3) if rng.random() < 0.4 else None
    return Run(prompt, generate, reset, _tokens(rng, 8, settings["end_token"]), stop_after)


@cocotb.test()
async def random_programs(dut):
    """Each program in several runs that go on from one another, or forget the context."""
    await start(dut)
    reasons, waited = set(), set()
    for number, (idle, stall) in enumerate(STALLS):
        bench = Bench(dut, _c(), idle, stall, latency=(0, 3, 12, 40)[number % 4])
        rng = bench.rng
        for _ in range(PROGRAMS):
            code = program(rng, rng.randrange(1, 30), rng.randrange(1, 12))
            await bench.load(code)
            settings = _settings(rng, rng.choice((rng.randint(1, 12), 40)))
            bench.configure(**settings)
            for index in range(RUNS):
                reset = index == 0 or rng.random() < 0.3
                reasons.add(await bench.run(_run(rng, settings, reset)))
        waited.update(unit for unit, cycles in bench.waiting.items() if cycles)
        bench.stop()
    assert reasons == set(Stop)
    assert waited == set(UNITS)


@cocotb.test()
async def every_end(dut):
    """Each reason by itself, with prompt tokens left where that can be; the next run is whole."""
    await start(dut)
    for idle, stall in STALLS:
        bench = Bench(dut, _c(), idle, stall, latency=5)
        rng = bench.rng
        await bench.load(program(rng, 6, 3))
        bench.configure(context=6, end_token=5, end_token_enable=1)
        prompt = [rng.getrandbits(18) for _ in range(4)]
        for run, reason, position in (
            (Run(prompt, 2, True, [1, 2]), Stop.COUNT, 5),
            (Run([9], 9, False, [3]), Stop.CONTEXT_FULL, 6),  # goes on at 5
            (Run(prompt, 9, False, []), Stop.CONTEXT_FULL, 6),  # all of the prompt is left
            (Run([*prompt, *prompt], 9, True, []), Stop.CONTEXT_FULL, 6),
            (Run(prompt, 9, True, [5]), Stop.END_TOKEN, 4),
            (Run([1], 2, False, [5]), Stop.END_TOKEN, 5),
            (Run([5], 1, True, [5]), Stop.END_TOKEN, 1),  # before COUNT; not if the prompt has it
            (Run(prompt, 5, True, [1], stop_after=1), Stop.STOPPED, 2),
            (Run(prompt, 1, False, [1], stop_after=3), Stop.COUNT, 6),  # STOP comes too late
            (Run(prompt, 5, True, [1, 2, 3], stop_after=4), Stop.STOPPED, 5),
        ):
            assert await bench.run(run) == reason
            assert bench.position == position
        bench.configure(context=6, end_token=5, end_token_enable=0)
        assert await bench.run(Run([1], 3, True, [5, 5, 5])) == Stop.COUNT
        bench.stop()


@cocotb.test()
async def positions_up_to_the_context(dut):
    """Key rows move on every P positions; the addresses follow to the configuration's context."""
    await start(dut)
    c = _c()
    bench = Bench(dut, c, 0.0, 0.1)
    rng = bench.rng
    await bench.load(program(rng, 2, 1))
    bench.configure(context=c.context, rotation_stride=16, key_stride=0xABCD)
    prompt = [rng.getrandbits(18) for _ in range(c.lanes + 1)]
    count = c.context - len(prompt) + 1
    run = Run(prompt, count + 9, True, [rng.getrandbits(18) for _ in range(count)])
    assert await bench.run(run) == Stop.CONTEXT_FULL
    assert bench.position == c.context
    bench.stop()


@cocotb.test()
async def a_full_program(dut):
    """No END: the program ends with the memory."""
    await start(dut)
    c = _c()
    bench = Bench(dut, c, 0.0, 0.2, latency=2)
    await bench.load(program(bench.rng, c.program_depth - 11, 10))  # HEAD too; END is beyond
    bench.code.remove(END)
    bench.configure(context=9)
    assert await bench.run(Run([1, 2], 2, True, [3, 4])) == Stop.COUNT
    bench.stop()


@cocotb.test()
async def an_empty_program(dut):
    """A position without an instruction ends by itself; the token is what post has."""
    await start(dut)
    bench = Bench(dut, _c(), 0.0, 0.0)
    await bench.load([END])
    bench.configure(context=9)
    dut.next_token.value = 77
    assert await bench.run(Run([1, 2], 3, True, [77, 77, 77])) == Stop.COUNT
    bench.stop()


@cocotb.test()
async def a_slow_unit_does_not_hold_the_others(dut):
    """The others go on while a unit has no more than its queue before it."""
    await start(dut)
    bench = Bench(dut, _c(), 0.0, 0.0)
    bench.configure(context=9)
    late = [instruction(bench.rng, "vector", {"post": 30}) for _ in range(QUEUE_WORDS)]
    rest = [instruction(bench.rng, ("fire", "post")[i % 2], {}) for i in range(60)]
    await bench.load([*late, *rest, END])
    await bench.run(Run([1], 1, True, [1]))
    units = [item.unit for _, item in bench.taken]
    assert units.index("vector") >= 58
    bench.stop()


@pytest.mark.parametrize("name", ["tiny", "ulx3s"])
def test_sequencer(name):
    values = {"configuration": name}
    run_cocotb(Sequencer(configuration(name)), __name__, f"sequencer_{name}", values)


def test_programs_are_legal():
    """The bench's own: every wait is for instructions that come before."""
    rng = generator("legal")
    for _ in range(50):
        before = dict.fromkeys(UNITS, 0)
        for item in program(rng, 20, 5):
            assert all(before[other] >= count for other, count in item.waits.items())
            if item.unit is not None:
                before[item.unit] += 1
