"""Exact cycles of the units behind the neuron core, counted by what they export."""

import cocotb
import pytest
from cocotb.triggers import RisingEdge

from hdl.lib.shapes import event_layout, scalar_layout
from hdl.units.fire import norm
from hdl.units.fire.norm import Norm
from hdl.units.fire.router import Router
from hdl.units.fire.squares import squares_layout
from hdl.units.fire.synapse import COPY_LATENCY
from tests.cocotb_support import Sink, Source, cycle, generator, parameters, run_cocotb, start
from tests.units import bench_router, bench_synapse
from tests.units.devices import DEVICES, device
from tests.units.test_synapse import SynapseHarness


@cocotb.test()
async def router(dut):
    """The first event LATENCY cycles after its step; with spikes for it in every step, a core gets
    an event in every cycle, ends included."""
    c, rng = await bench_router.begin(dut)
    steps = bench_router.random_steps(c, rng, 60, 1.0)
    taken, came = await bench_router.check(dut, c, steps, 0.0, [0.0] * c.cores)
    for cycles in came:
        assert cycles[0] - taken[0] == Router.LATENCY
        assert cycles[-1] - cycles[0] == len(cycles) - 1


@cocotb.test()
async def synapse(dut):
    """No cycle is lost inside a tile nor between tiles while the shadow registers are free."""
    c, rng = device(parameters()["name"]), generator("synapse rate")
    rows = await bench_synapse.begin(dut, rng, c)
    events, tiles = [], []
    for _ in range(10):
        some, total = bench_synapse.tile(rng, rows, 40)
        events += some
        tiles.append(total)
    source = Source(dut, "events", event_layout(c))
    source.put(events)
    await bench_synapse.drain(dut, c, rng, tiles, 0.0)
    assert source.cycles[-1] - source.cycles[0] == len(events) - 1
    source.stop()


@cocotb.test()
async def synapse_ends(dut):
    """While a tile is not freed the next is gathered, up to its end; `full` comes COPY_LATENCY
    cycles after an end."""
    c, rng, edge = device(parameters()["name"]), generator("synapse end"), RisingEdge(dut.clk)
    rows = await bench_synapse.begin(dut, rng, c)
    first, first_sums = bench_synapse.tile(rng, rows, 3)
    second, second_sums = bench_synapse.tile(rng, rows, 30)
    source = Source(dut, "events", event_layout(c))
    source.put([*first, *second])
    full_at = None
    for _ in range(60):
        await edge
        if full_at is None and int(dut.full.value):
            full_at = cycle()
    assert full_at - source.cycles[len(first) - 1] == COPY_LATENCY
    assert len(source.cycles) == len(first) + len(second) - 1
    await bench_synapse.drain(dut, c, rng, [first_sums, second_sums], 0.0)
    source.stop()


@cocotb.test()
async def scalar(dut):
    """LATENCY cycles from a sum to the scalar, whatever the settings; then the next sum."""
    await start(dut)
    dut.settings.value = 0
    source, sink = Source(dut, "squares", squares_layout()), Sink(dut, "scalar", scalar_layout())
    source.put([{"sum": number, "exponent": 0} for number in range(20)])
    await sink.receive(20)
    assert [b - a for a, b in zip(source.cycles, sink.cycles, strict=True)] == [norm.LATENCY] * 20
    source.stop()
    sink.stop()


@pytest.mark.cycles
@pytest.mark.parametrize("name", DEVICES)
def test_router_cycles(name):
    run_cocotb(Router(device(name)), __name__, f"router_{name}", {"name": name}, testcase="router")


@pytest.mark.cycles
@pytest.mark.parametrize("name", DEVICES)
def test_synapse_cycles(name):
    run_cocotb(SynapseHarness(name), __name__, f"synapse_{name}", {"name": name},
               testcase=["synapse", "synapse_ends"])  # fmt: skip


@pytest.mark.cycles
def test_norm_cycles():
    run_cocotb(Norm(), __name__, "norm_unit", testcase="scalar")
