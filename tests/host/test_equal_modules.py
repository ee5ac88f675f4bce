"""Equal modules stand once, and what is made of them is what was made of each."""

import re
from pathlib import Path

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module
from amaranth.lib.wiring import Component, In, Out

from host.flow.equal_modules import share
from tests.yosys import yosys

pytestmark = pytest.mark.extra  # synthesis by Yosys


class Part(Component):
    """Some logic."""

    def __init__(self, constant: int) -> None:
        self.constant = constant
        super().__init__({"a": In(8), "b": In(8), "total": Out(8)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.total.eq((self.a ^ self.constant) + (self.b & ~self.a))
        return m


class Parts(Component):
    """Parts with these constants, each with inputs of its own."""

    def __init__(self, constants: tuple[int, ...]) -> None:
        self.constants = constants
        super().__init__({"a": In(8), "b": In(8), "total": Out(8 * len(constants))})

    def elaborate(self, platform):
        m = Module()
        for k, constant in enumerate(self.constants):
            part = Part(constant)
            m.submodules[f"part_{k}"] = part
            m.d.comb += [part.a.eq(self.a + k), part.b.eq(self.b ^ k),
                         self.total.word_select(k, 8).eq(part.total)]
        return m


def text(constants: tuple[int, ...]) -> str:
    return rtlil.convert(Parts(constants), name="parts", emit_src=False)


def modules(rtlil_text: str) -> list[str]:
    return re.findall(r"^module (\S+)$", rtlil_text, re.MULTILINE)


def proved(folder: Path, one: str, other: str) -> tuple[bool, str]:
    (folder / "one.il").write_text(one)
    (folder / "other.il").write_text(other)
    read = "; ".join(
        f"read_rtlil {name}.il; hierarchy -check -top parts; proc; flatten; rename parts {name}; "
        f"design -stash {name}" for name in ("one", "other"))
    return yosys(folder, (
        f"{read}; design -copy-from one -as one one; design -copy-from other -as other other; "
        "miter -equiv -flatten one other both; sat -verify -prove trigger 0 both"))


def test_equal_modules_stand_once(tmp_path: Path) -> None:
    before = text((5, 5, 9, 5))
    after, kept = share(before, least=100)
    assert kept == ["\\parts.part_0"]
    assert modules(after) == ["\\parts", "\\parts.part_0", "\\parts.part_2"]
    equal, log = proved(tmp_path, before, after)
    assert equal, log


def test_another_module_would_be_found(tmp_path: Path) -> None:
    before = text((5, 5, 9, 5))
    after, _ = share(before, least=100)
    assert after.count("8'00001001") == 1
    equal, log = proved(tmp_path, before, after.replace("8'00001001", "8'00000101"))
    assert not equal and "model found: FAIL" in log, log


@pytest.mark.parametrize("constants, least", [((1, 2, 3), 100), ((1, 1), 1_000_000)])
def test_what_differs_or_is_small_stays(constants: tuple[int, ...], least: int) -> None:
    before = text(constants)
    assert share(before, least) == (before, [])


def test_ports_without_a_name_of_their_own() -> None:
    """Numbers in names are those of the whole design: ports go by their order."""
    part = """attribute \\generator "Amaranth"
module \\top.part_{k}
  wire width 2 input 0 \\port${n}$0
  wire width 2 output 1 \\sum${m}
  cell $not ${o}
    connect \\A \\port${n}$0
    connect \\Y \\sum${m}
  end
end
"""
    instance = """  cell \\top.part_{k} \\part_{i}
    connect \\port${n}$0 \\a
    connect \\sum${m} \\b_{i}
  end
"""
    first, second = dict(k=0, n=7, m=8, o=9), dict(k=1, n=41, m=40, o=42)
    before = ["module \\top\n", instance.format(i=0, **first), instance.format(i=1, **second),
              "end\n", part.format(**first), part.format(**second)]
    after, kept = share("".join(before), least=10)
    assert kept == ["\\top.part_0"]
    before[2] = instance.format(i=1, **first)
    assert after == "".join(before[:-1])
