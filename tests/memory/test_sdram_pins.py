"""The SDRAM's pins on a board: every one has a register in its I/O cell."""

import re

import pytest
from amaranth.hdl import ClockDomain, ClockSignal, Elaboratable, Module

from hdl.memory.sdram import SdramController
from hdl.memory.sdram_pins import SUBSIGNALS, SdramPins
from hdl.memory.sdram_timing import SDRAM_32MB


class Top(Elaboratable):
    """A controller on the board's chip, with the board's clock for both domains."""

    def elaborate(self, platform):
        m = Module()
        m.domains.sdram = ClockDomain(reset_less=True)
        m.d.comb += ClockSignal("sdram").eq(ClockSignal())
        port = platform.request("sdram", dir=dict.fromkeys(SUBSIGNALS, "-"))
        m.submodules.controller = controller = SdramController(SDRAM_32MB, 25e6)
        m.submodules.pins = pins = SdramPins(port, SDRAM_32MB)
        m.d.comb += [
            getattr(pins.controller, name).eq(getattr(controller.sdram, name))
            for name in pins.controller.signature.members if name != "data_in"
        ]
        m.d.comb += controller.sdram.data_in.eq(pins.controller.data_in)
        # So that nothing is optimised away.
        m.d.comb += controller.memory.request.valid.eq(1)
        return m


def test_pins_have_registers_in_their_cells() -> None:
    boards = pytest.importorskip("amaranth_boards.ulx3s")
    plan = boards.ULX3S_85F_Platform().build(Top(), do_build=False)
    text = plan.files["top.il"]
    text = text if isinstance(text, str) else text.decode()
    cells = {name: len(re.findall(rf"cell \\{name} ", text))
             for name in ("OFS1P3DX", "IFS1P3DX", "ODDRX1F", "BB")}  # fmt: skip
    print(cells)
    # cke, cs, ras, cas, we, 2 banks, 13 address, 2 masks and 16 data, all with their enables, and
    # the enable of the clock.
    assert cells["OFS1P3DX"] == 2 * (5 + 2 + 13 + 2 + 16) + 1
    assert cells["IFS1P3DX"] == 16
    assert cells["BB"] == 16
    assert cells["ODDRX1F"] == 1
