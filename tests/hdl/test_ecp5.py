"""ECP5 cells and their twins compute the same: proved on Yosys' models of the cells."""

from pathlib import Path

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import Component, In, Out

from hdl.lib.ecp5 import Target, carry_sum, choose, either, global_net, masked_sum, select
from tests.yosys import yosys

pytestmark = pytest.mark.extra  # synthesis by Yosys

OPERANDS = {
    "choose": choose,
    "inverted": lambda b, c, d: c ^ d,
    "masked": lambda b, c, d: c & (b | d),
}


class Sum(Component):
    """carry_sum as it stands."""

    def __init__(self, operand, bits: int) -> None:
        self.operand = operand
        super().__init__({**{n: In(bits) for n in "abcd"}, "carry": In(1), "total": Out(bits)})

    def elaborate(self, platform):
        m = Module()
        operands = (self.b, self.c, self.d, self.carry)
        total = carry_sum(m, platform, self.a, self.operand, *operands)
        m.d.comb += self.total.eq(total)
        return m


class MaskedSum(Component):
    """masked_sum as it stands."""

    def __init__(self, bits: int) -> None:
        super().__init__({**{n: In(bits) for n in "abcd"}, "total": Out(bits)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.total.eq(masked_sum(m, platform, self.a, self.b, self.c, self.d))
        return m


class Selection(Component):
    """select from words that are slices of one input."""

    def __init__(self, count: int, bits: int) -> None:
        self.count, self.bits = count, bits
        super().__init__(
            {"words": In(count * bits), "index": In(range(count)), "chosen": Out(bits)}
        )

    def elaborate(self, platform):
        m = Module()
        words = [self.words.word_select(k, self.bits) for k in range(self.count)]
        m.d.comb += self.chosen.eq(select(m, platform, words, self.index))
        return m


class Either(Component):
    """either of words that are slices of one input."""

    def __init__(self, count: int, bits: int) -> None:
        self.count, self.bits = count, bits
        super().__init__({"words": In(count * bits), "joined": Out(bits)})

    def elaborate(self, platform):
        m = Module()
        words = [self.words.word_select(k, self.bits) for k in range(self.count)]
        m.d.comb += self.joined.eq(either(m, platform, words))
        return m


def proved(folder: Path, make, twin_of=None) -> tuple[bool, str]:
    """Whether the netlist of cells and the twin (of another component, if given) are equal."""
    for name, component, platform in (
        ("twin", (twin_of or make)(), None), ("cells", make(), Target()),
    ):  # fmt: skip
        (folder / f"{name}.il").write_text(rtlil.convert(component, name=name, platform=platform))
    cells = (folder / "cells.il").read_text()
    assert any(f"cell \\{kind} " in cells for kind in ("CCU2C", "LUT4")), "no cells to compare"
    script = (
        "read_rtlil cells.il; read_verilog -nooverwrite +/lattice/cells_sim_ecp5.v; "
        "hierarchy -check -top cells; proc; flatten; design -stash cells; "
        "read_rtlil twin.il; proc; design -copy-from cells -as cells cells; "
        "miter -equiv -flatten twin cells both; sat -verify -prove trigger 0 both"
    )
    return yosys(folder, script)


@pytest.mark.parametrize("name", OPERANDS)
@pytest.mark.parametrize("bits", [7, 10])
def test_carry_sum(tmp_path: Path, name: str, bits: int) -> None:
    equal, log = proved(tmp_path, lambda: Sum(OPERANDS[name], bits))
    assert equal, log


@pytest.mark.parametrize("bits", [7, 10])
def test_masked_sum(tmp_path: Path, bits: int) -> None:
    equal, log = proved(tmp_path, lambda: MaskedSum(bits))
    assert equal, log


@pytest.mark.parametrize("count", [8, 16, 64])
def test_select(tmp_path: Path, count: int) -> None:
    equal, log = proved(tmp_path, lambda: Selection(count, 3))
    assert equal, log


@pytest.mark.parametrize("count", [2, 4, 6])
def test_either(tmp_path: Path, count: int) -> None:
    equal, log = proved(tmp_path, lambda: Either(count, 3))
    assert equal, log


def test_words_that_are_not_equally_wide() -> None:
    with pytest.raises(ValueError, match="equally wide"):
        either(Module(), None, [Signal(4), Signal(5)])
    with pytest.raises(ValueError, match="equally wide"):
        select(Module(), None, [Signal(4), Signal(5)], Signal(1))


def test_a_difference_is_found(tmp_path: Path) -> None:
    equal, log = proved(tmp_path, lambda: Sum(choose, 6), lambda: Sum(OPERANDS["masked"], 6))
    assert not equal and "model found: FAIL" in log, log


def test_operands_the_cell_cannot_add() -> None:
    with pytest.raises(ValueError, match="not 0"):
        carry_sum(Module(), None, Signal(4), lambda b, c, d: b, *(Signal(4) for _ in range(3)))
    with pytest.raises(ValueError, match="for 5"):
        carry_sum(Module(), None, Signal(5), choose, *(Signal(4) for _ in range(3)))
    with pytest.raises(ValueError, match="for 5"):
        masked_sum(Module(), None, Signal(5), *(Signal(4) for _ in range(3)))


class Wide(Component):
    """A bit on a global net."""

    def __init__(self) -> None:
        super().__init__({"one": In(1), "everywhere": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.everywhere.eq(global_net(m, platform, self.one))
        return m


def test_global_net() -> None:
    """A clock network's buffer on an ECP5, a wire elsewhere."""
    assert rtlil.convert(Wide(), name="wide", platform=Target()).count("cell \\DCCA ") == 1
    assert "cell" not in rtlil.convert(Wide(), name="wide")
