"""Synapse core and its row memory against golden.units.synapse."""

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import connect, flipped

from hdl.memory.rows import RowMemory
from hdl.units.fire.synapse import SynapseCore
from tests.cocotb_support import run_cocotb
from tests.units.devices import DEVICES, device


class SynapseHarness(wiring.Component):
    """One synapse core on the first core's rows; the bench writes the rows."""

    def __init__(self, name: str) -> None:
        c = device(name)
        self.core, self.rows = SynapseCore(c), RowMemory(c)
        members = self.core.signature.members
        names = ("events", "full", "free", "read_word", "word", "correction")
        super().__init__(
            {
                **{n: members[n] for n in names},
                "row_write": self.rows.signature.members["row_write"],
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.core, m.submodules.rows = core, rows = self.core, self.rows
        connect(m, core.events, flipped(self.events))
        connect(m, rows.row_write, flipped(self.row_write))
        m.d.comb += [
            rows.address[0].eq(core.row_address),
            rows.enable[0].eq(core.row_enable),
            core.row_data.eq(rows.data[0]),
            core.free.eq(self.free),
            core.read_word.eq(self.read_word),
            self.full.eq(core.full),
            self.word.eq(core.word),
            self.correction.eq(core.correction),
        ]
        return m


@pytest.mark.parametrize("name", DEVICES)
def test_synapse(name):
    run_cocotb(SynapseHarness(name), "tests.units.bench_synapse", f"synapse_{name}",
               {"name": name})  # fmt: skip
