"""Where block RAM goes before placement."""

import random
import re

import pytest
from amaranth.back import rtlil

from hdl.device import Device
from hdl.emit import elaborating
from host.flow import floorplan
from host.flow.floorplan import place_blocks
from isa.configurations import configuration
from tests.seeds import seed

BANKS = {"0": 32, "1": 16}  # blocks of a core's banks, as in `ulx3s`


def name(core: int, bank: str, block: int, blocks: int) -> str:
    """Of a block of a bank in two parts."""
    part, within = divmod(block, -(-blocks // 2))
    return f"core.device.fire.rows.core_{core}_bank_{bank}_part_{part}.0.{within}"


OTHERS = {"sequencer.dispatch.program": 6, "parameters": 4, "memory": 6}  # blocks, as in `ulx3s`


def netlist(cores: int, banks: dict[str, int] = BANKS, others: dict[str, int] = OTHERS) -> dict:
    """Cells in any order, as Yosys names them, with others between them."""
    names = [name(core, bank, k, blocks)
             for core in range(cores) for bank, blocks in banks.items() for k in range(blocks)]
    names += [f"core.device.{memory}.memory.0.{k}" for memory, blocks in others.items()
              for k in range(blocks)]
    random.Random(seed()).shuffle(names)
    cells = {cell: {"type": "DP16KD", "attributes": {}} for cell in names}
    cells[name(0, "0", 0, 1) + "_LUT4_Z"] = {"type": "LUT4", "attributes": {}}
    return {"modules": {"cell": {"cells": {}}, "top": {"attributes": {"top": "1"}, "cells": cells}}}


def places(design: dict, part: str = "LFE5U-85F") -> tuple[int, dict[str, tuple]]:
    count = place_blocks(design, part)
    found = {}
    for name, cell in design["modules"]["top"]["cells"].items():
        if "BEL" in cell["attributes"]:
            x, y, block = re.fullmatch(r"X(\d+)/Y(\d+)/EBR([0-3])",
                                       cell["attributes"]["BEL"]).groups()
            found[name] = (int(y), int(x), int(block))
    return count, found


def test_a_core_has_a_row_and_its_lanes_stand_in_order() -> None:
    count, found = places(netlist(4))
    assert count == len(found) == len(set(found.values())) == 4 * 52
    assert not any("LUT4" in name for name in found)
    for core, row in enumerate((22, 46, 70, 82)):
        at = {bank: [found[name(core, bank, k, blocks)] for k in range(blocks)]
              for bank, blocks in BANKS.items()}
        assert {y for places in at.values() for y, _, _ in places} == {row}
        columns = {bank: [x for _, x, _ in places] for bank, places in at.items()}
        assert all(xs == sorted(xs) for xs in columns.values())
        # Four lanes are two blocks of the first bank and one of the second.
        for k, x in enumerate(columns["1"]):
            assert columns["0"][2 * k] < x < columns["0"][2 * k + 1]
        assert not {x for xs in columns.values() for x in xs} & {58, 60, 62, 64}  # the middle


def test_a_core_that_needs_more_than_a_row_has_two() -> None:
    """As in `ulx3s_sdram`: a lane's four banks are two blocks in each row, one below the other."""
    banks = {str(bank): 16 for bank in range(4)}
    others = {"sequencer.dispatch.program": 12, "memory": 12, "key_exponents": 4}
    count, found = places(netlist(2, banks, others))
    assert count == len(set(found.values())) == 2 * 64 + 28
    for core, rows in enumerate(((22, 46), (70, 82))):
        for k in range(16):
            lane = [found[name(core, bank, k, 16)] for bank in banks]
            assert sorted(y for y, _, _ in lane) == sorted(2 * rows)
            assert len({x for _, x, _ in lane}) == 2
    assert {found[f"core.device.{memory}.memory.0.{k}"][0]
            for memory, blocks in others.items() for k in range(blocks)} == {46, 70}


def test_a_memorys_blocks_stand_next_to_each_other() -> None:
    _, found = places(netlist(4))
    middle = [(y, x) for y in (22, 46, 70, 82) for x in (58, 60, 62, 64)]
    at = {memory: [found[f"core.device.{memory}.memory.0.{k}"][:2] for k in range(blocks)]
          for memory, blocks in OTHERS.items()}
    assert [place for memory in OTHERS for place in at[memory]] == middle
    assert [max(y for y, _ in places) - min(y for y, _ in places) for places in at.values()] == [
        24, 24, 12]


@pytest.mark.parametrize("others", [OTHERS | {"link.buffer": 1}, OTHERS | {"memory": 7}])
def test_other_memories_are_left_to_the_placer_as_a_whole(others) -> None:
    """With one that is not known, and where they have no room."""
    count, found = places(netlist(4, others=others))
    assert count == 4 * 48 and all(".rows.core_" in name for name in found)


@pytest.mark.parametrize("part, cores, banks", [
    ("LFE5U-25F", 4, BANKS),            # a grid that is not known
    ("LFE5U-85F", 2, BANKS),            # a small design
    ("LFE5U-85F", 5, BANKS),            # more cores than rows of the grid
    ("LFE5U-85F", 3, {"0": 53}),        # of two rows each
])
def test_what_has_no_plan_is_left_to_the_placer(part, cores, banks) -> None:
    count, found = places(netlist(cores, banks), part)
    assert count == 0 and not found


def test_the_memories_are_called_as_the_device_calls_them() -> None:
    """Every memory that is known by its name is there: a memory that moves is noticed."""
    with elaborating():
        text = rtlil.convert(Device(configuration("tiny")), name="core.device", emit_src=False)
    modules = re.findall(r"^module \\(\S+)", text, re.MULTILINE)
    names = [f"{module}.memory.0.0" for module in modules]
    for pattern in floorplan._OTHERS:
        assert any(pattern.search(name) for name in names), pattern.pattern
    assert any(".fire.rows" in module for module in modules)
