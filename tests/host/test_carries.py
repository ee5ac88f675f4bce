"""Carry chains with a constant carry: what begins them, proved on Yosys' models of the cells."""

import json
from pathlib import Path

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Cat, Module
from amaranth.lib.wiring import Component, In, Out

from hdl.lib.ecp5 import Target, carry_sum
from host.flow.carries import begin_chains
from tests.yosys import yosys

pytestmark = pytest.mark.extra  # synthesis by Yosys

BITS = (5, 8)  # of the chains: in one the last cell is half used


class Sums(Component):
    """Chains that begin with 0, with 1, and with an input."""

    def __init__(self) -> None:
        super().__init__({**{n: In(max(BITS)) for n in "abc"}, "carry": In(1),
                          "total": Out(3 * sum(BITS))})

    def elaborate(self, platform):
        m = Module()
        sums = [
            carry_sum(m, platform, self.a[:bits], lambda b, c, d: b & c, self.b[:bits],
                      self.c[:bits], self.c[:bits], carry)
            for bits in BITS for carry in (0, 1, self.carry)
        ]
        m.d.comb += self.total.eq(Cat(*sums))
        return m


def netlist(folder: Path) -> dict:
    """The sums in cells, as Yosys writes them."""
    cells = rtlil.convert(Sums(), name="cells", platform=Target())
    (folder / "cells.il").write_text(cells)
    done, log = yosys(folder, "read_rtlil cells.il; hierarchy -top cells; flatten; opt_clean; "
                              "write_json cells.json")
    assert done, log
    return json.loads((folder / "cells.json").read_text())


def proved(folder: Path, design: dict) -> tuple[bool, str]:
    """Whether a netlist adds as the sums in plain Amaranth do, whatever open inputs carry."""
    (folder / "begun.json").write_text(json.dumps(design))
    (folder / "twin.il").write_text(rtlil.convert(Sums(), name="twin"))
    return yosys(folder, (
        "read_json begun.json; read_verilog -nooverwrite +/lattice/cells_sim_ecp5.v; "
        "hierarchy -check -top cells; proc; flatten; design -stash cells; "
        "read_rtlil twin.il; proc; design -copy-from cells -as cells cells; "
        "miter -equiv -flatten twin cells both; sat -verify -prove trigger 0 both"))


def test_sums_stay_what_they_are(tmp_path: Path) -> None:
    design = netlist(tmp_path)
    before = len(design["modules"]["cells"]["cells"])
    assert begin_chains(design) == 2 * len(BITS)
    cells = design["modules"]["cells"]["cells"]
    assert len(cells) == before + 2 * len(BITS)
    assert not [name for name, cell in cells.items() if cell["connections"].get("CIN") in
                (["0"], ["1"])]
    equal, log = proved(tmp_path, design)
    assert equal, log


@pytest.mark.parametrize("carry", ["0", "1"])
def test_a_wrong_carry_is_found(tmp_path: Path, carry: str) -> None:
    design = netlist(tmp_path)
    cells = design["modules"]["cells"]["cells"]
    wrong = next(cell for cell in cells.values() if cell["connections"].get("CIN") == [carry])
    wrong["connections"]["CIN"] = ["1" if carry == "0" else "0"]
    begin_chains(design)
    equal, log = proved(tmp_path, design)
    assert not equal and "model found: FAIL" in log, log


def test_a_design_without_chains_is_left_alone() -> None:
    module = {"attributes": {"top": "1"}, "netnames": {}, "cells": {
        "table": {"type": "LUT4", "connections": {"A": ["0"]}}}}
    design = {"modules": {"top": module}}
    before = json.dumps(design)
    assert begin_chains(design) == 0 and json.dumps(design) == before
