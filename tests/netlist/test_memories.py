"""Memories that Yosys infers behave after synthesis as they were written."""

import re

import pytest

from sim.netlist import to_netlist
from tests.cocotb_support import run_cocotb
from tests.netlist.memories import ClearedRead, Memories

pytestmark = pytest.mark.extra  # synthesis by Yosys

BENCH = "tests.netlist.bench_memories"


@pytest.mark.parametrize("target", ["rtl", "netlist"])
def test_inferred_memories(target):
    run_cocotb(Memories(), BENCH, "memories", testcase="reads_and_writes", target=target)


def test_every_width_of_block_ram_was_inferred():
    netlist = to_netlist(Memories(), "memories")
    widths = {int(w) for w in re.findall(r"\.DATA_WIDTH_[AB]\(32'd(\d+)\)", netlist.verilog)}
    assert widths == {1, 2, 4, 9, 18, 36}, (widths, netlist.cells)
    assert netlist.cells["TRELLIS_DPR16X4"] > 0, netlist.cells


def test_a_reset_that_moves_while_the_clock_is_high_is_found():
    """Yosys takes the block RAM's reset for a synchronous clear, but the vendor's model clears the
    latch as soon as RST rises while the clock is high: such a design is wrong on the netlist."""
    run_cocotb(ClearedRead(), BENCH, "cleared_read", testcase="clears")
    netlist = to_netlist(ClearedRead(), "cleared_read")
    assert re.search(r"\.RST[AB]\(clear\)", netlist.verilog), netlist.cells
    with pytest.raises(AssertionError, match="clears: expected"):
        run_cocotb(netlist, BENCH, "cleared_read", testcase="clears")
