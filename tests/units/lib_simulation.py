"""Amaranth's own simulator for small parts of hdl.lib: nothing to compile, some thousand cycles."""

from collections.abc import Callable

from amaranth.hdl import Elaboratable
from amaranth.sim import Simulator

from tests.seeds import seed


def simulate(dut: Elaboratable, play: Callable) -> None:
    """Runs the testbench `play`, an async function of the simulator's context, on `dut`.

    It writes inputs, reads outputs of the same cycle, and ends the cycle with `await ctx.tick()`.
    """
    seed()
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(play)
    simulator.run()
