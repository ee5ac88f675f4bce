"""Exact cycles of hdl.units.sequencer, counted by the latencies that its units export."""

import cocotb
import pytest

from hdl.units.sequencer.sequencer import Sequencer
from hdl.units.sequencer.unit_queue import UnitQueue
from isa.configurations import Configuration, configuration
from tests.cocotb_support import parameters, run_cocotb, start
from tests.units.bench_sequencer import Bench
from tests.units.sequencer_model import END, UNITS, Run, instruction

UNIT = 1  # cycles from taking an instruction to its `done`: of the bench's units
LAST_TO_TOKEN = UNIT + Sequencer.DONE_TO_TOKEN


def _c() -> Configuration:
    return configuration(parameters()["configuration"])


@cocotb.test()
async def one_instruction_a_cycle(dut):
    """Dispatch keeps up with units that take and complete one every cycle."""
    await start(dut)
    bench = Bench(dut, _c(), 0.0, 0.0)
    rng, free = bench.rng, {}
    bench.configure(context=9)
    for order in (["post"], ["fire", "post"], ["vector", "fire", "post"]):
        count = 20 * len(order)
        code = [instruction(rng, order[i % len(order)], free) for i in range(count)]
        await bench.load([*code, END])
        before, made = len(bench.taken), len(bench.made)
        await bench.run(Run([1], 2, True, [1, 2]))
        taken = [cycle for cycle, _ in bench.taken[before:]]
        first = bench.start_cycle + Sequencer.START_TO_OFFER
        assert taken[:count] == list(range(first, first + count))
        (token, _, _), (last, _, _) = bench.made[made:]
        assert token - taken[count - 1] == LAST_TO_TOKEN
        assert taken[count] - token == Sequencer.START_TO_OFFER
        assert last - token == Sequencer.START_TO_OFFER + count - 1 + LAST_TO_TOKEN


@cocotb.test()
async def a_wait_ends_in_the_cycle_after_done(dut):
    """What waited for a unit's last instruction is offered then."""
    await start(dut)
    bench = Bench(dut, _c(), 0.0, 0.0)
    bench.configure(context=9)
    code = []
    for index in range(40):
        unit = list(UNITS)[index % 2]
        waits = {"fire": {"post": index // 2}, "post": {"fire": index // 2 + 1}}[unit]
        code.append(instruction(bench.rng, unit, waits))
    await bench.load([*code, END])
    await bench.run(Run([1], 1, True, [1]))
    taken = [cycle for cycle, _ in bench.taken]
    apart = {b - a for a, b in zip(taken, taken[1:], strict=False)}
    assert apart == {UNIT + UnitQueue.DONE_TO_OFFER}
    bench.stop()


@pytest.mark.cycles
@pytest.mark.parametrize("name", ["tiny", "ulx3s"])
def test_sequencer_cycles(name):
    values = {"configuration": name}
    run_cocotb(Sequencer(configuration(name)), __name__, f"sequencer_{name}", values)
