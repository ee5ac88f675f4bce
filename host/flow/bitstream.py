"""Makes a bitstream: synthesis, then placement and routing, and a check of what came of them.

Both steps are cached by their contents, so that another placement needs no new synthesis.
"""

import json
import math
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from amaranth.build.run import BuildPlan

from host.flow import carries, floorplan, global_nets, tools
from host.flow.area import MULTIPLIERS, Area, area
from host.flow.design import Design
from host.flow.equal_modules import share
from host.flow.flows import NETLIST, PLACER_ROUNDS, REPORT, STATISTICS, TOP, Flow, steady
from isa.errors import SpikeletError
from sim.cache import cached, content_key, lookup

Tell = Callable[[float, str], None]

# How much of a build's time has passed behind each of its stages.
_ELABORATED, _SYNTHESISED, _PLACED, _ROUTED = 0.03, 0.4, 0.7, 0.97
_TYPICAL_LINES = 20_000  # of a tool's output: only for how fast the progress bar moves
_TIMES = "seconds.json"
_FULL = "legal placement"  # of nextpnr's message where there is no place left that suits a cell
_ROUND = re.compile(r"Info: iter=(\d+) ")  # a line of nextpnr's placer for each of its rounds
# Amaranth names elements of arrays \word[7]. Yosys takes that for bit 7 of \word and stops, so they
# are renamed. Bits themselves have a blank before the bracket.
_ELEMENT = re.compile(r"(?<=\S)\[(\d+)\]")


@dataclass(frozen=True)
class Used:
    """How many of a resource are used, and how many the part has."""

    used: int
    available: int


@dataclass(frozen=True)
class Bitstream:
    """A finished build.

    Attributes:
        path: the bitstream, in `folder` with the placer's report and log.
        logic, flip_flops, blocks: as the placer's report counts them.
        multipliers: cells of the netlist that multiply: 0.
        fmax_hz: the clock that the routed design reaches, by the tool's estimate.
        clock_hz: the clock that was asked for.
        synthesis_seconds, place_seconds: what the steps took when they were run.
        from_cache: whether neither was run now.
    """

    path: Path
    folder: Path
    logic: Used
    flip_flops: Used
    blocks: Used
    multipliers: int
    fmax_hz: float
    clock_hz: float
    synthesis_seconds: float
    place_seconds: float
    from_cache: bool


def build(design: Design, tell: Tell = lambda fraction, stage: None) -> Bitstream:
    """Makes the bitstream of a design, or takes it from the cache.

    `tell` is called with (fraction done, stage) as the work goes on.

    Raises:
        SpikeletError: a tool is missing or fails, the part is too small, the netlist has a
            multiplier, or the routed design does not reach its clock.
    """
    flow = design.flow
    for tool in flow.tools:
        tools.find(tool)
    design.check_rows()
    tell(0.0, "elaboration")
    plan = design.plan()
    netlist, was_there = _synthesise(design, plan, tell)
    used = area(design.board.family, _cells(netlist))
    _check_netlist(design, _cells(netlist), used)
    routed, was_routed = _place(design, plan, netlist, used, tell)
    tell(1.0, "done")
    result = _result(design, netlist, routed, used, was_there and was_routed)
    if result.fmax_hz < result.clock_hz:
        lower = math.floor(result.fmax_hz / 1e6)
        other = "another --seed" if design.timing_driven else "--timing-driven"
        raise SpikeletError(
            f"timing is not met: '{design.configuration.name}' on {design.board.name} is routed "
            f"for {result.fmax_hz / 1e6:.1f} MHz, {result.clock_hz / 1e6:g} MHz were asked for; "
            f"try --clock-mhz {lower} or {other} (report: {routed / REPORT})")
    return result


def netlist_area(design: Design, tell: Tell = lambda fraction, stage: None) -> Area:
    """The area of a design after synthesis, whether it fits its part or not."""
    netlist, _ = _synthesise(design, design.plan(), tell)
    return area(design.board.family, _cells(netlist))


def _synthesise(design: Design, plan: BuildPlan, tell: Tell) -> tuple[Path, bool]:
    """The folder with the netlist and its statistics, and whether it was in the cache."""
    rtlil, shared = share(_ELEMENT.sub(r".\1", plan.files[f"{TOP}.il"]))
    synthesis = _once(shared, design.flow.synthesis(design.clock_hz, design.part.name))
    script = "; ".join([f"read_rtlil {TOP}.il", *synthesis,
                        f"tee -q -o {STATISTICS} stat -json", f"write_json {NETLIST}"])
    key = content_key(rtlil, script, tools.version(tools.YOSYS))

    def run(folder: Path, log: Path) -> None:
        start = time.monotonic()
        (folder / f"{TOP}.il").write_text(rtlil)
        following = _Following(tell, _ELABORATED, _SYNTHESISED, "synthesis")
        tools.run(tools.YOSYS, ["-p", script], folder, log, following.yosys)
        if not (folder / NETLIST).is_file():
            raise SpikeletError("yosys ended without a word before the netlist was there: see "
                                f"{log}")
        (folder / f"{TOP}.il").unlink()
        _keep(folder, log, "synthesis.log", start)

    there = lookup("netlist", key) is not None
    return cached("netlist", key, run), there


def _once(modules: list[str], synthesis: str) -> list[str]:
    """Yosys' commands for a synthesis that keeps these modules and flattens them afterwards."""
    if not modules:
        return [synthesis]
    names = " ".join(modules)
    return [f"setattr -mod -set keep_hierarchy 1 {names}", synthesis,
            f"setattr -mod -unset keep_hierarchy {names}", "flatten", "opt_clean"]


def _place(design: Design, plan: BuildPlan, netlist: Path, used: Area,
           tell: Tell) -> tuple[Path, bool]:  # fmt: skip
    """The folder with the bitstream and the placer's report, and whether it was in the cache.

    The key has our own steps as their source text: what they do to a netlist decides its placement.
    """
    flow, platform = design.flow, design.platform
    constraints = plan.files[f"{TOP}{flow.constraints}"]
    place = flow.place(plan, platform, design.placing)
    pack = flow.pack(plan, platform)
    versions = [tools.version(tool) for tool in flow.tools]
    ours = (Path(module.__file__) for module in (carries, floorplan, global_nets))
    key = content_key(netlist.name, constraints, *place, *steady(place), str(PLACER_ROUNDS),
                      *pack, *versions, *ours)

    def run(folder: Path, log: Path) -> None:
        start = time.monotonic()
        (folder / f"{TOP}{flow.constraints}").write_text(constraints)
        (folder / NETLIST).write_text(json.dumps(flow.prepare(
            json.loads((netlist / NETLIST).read_text()), design.part.name)))
        following = _Following(tell, _SYNTHESISED, _ROUTED, "placement")
        try:
            _place_and_route(flow, place, folder, log, following)
        except SpikeletError as error:
            if _FULL in str(error):
                raise design.unfit([
                    f"{used.logic:,} of its {design.part.logic:,} logic cells, and "
                    f"{flow.placer.program} finds no place for all of them ({log})"]) from error
            raise
        tell(_ROUTED, "packing")
        tools.run(flow.packer, pack, folder, log)
        (folder / NETLIST).unlink()
        _keep(folder, log, "place.log", start)

    there = lookup("bitstream", key) is not None
    return cached("bitstream", key, run), there


def _place_and_route(
    flow: Flow, arguments: list[str], folder: Path, log: Path, following: "_Following"
) -> None:
    """Runs place and route; again with the other placer where the first does not finish."""
    try:
        tools.run(flow.placer, arguments, folder, log, following.nextpnr)
    except _EndlessPlacement:
        following.again("placement with another placer")
        tools.run(flow.placer, steady(arguments), folder, log, following.nextpnr)


class _EndlessPlacement(Exception):
    """The placer has not finished in PLACER_ROUNDS rounds."""


def _keep(folder: Path, log: Path, name: str, start: float) -> None:
    """Puts a step's log and the time that it took beside its results."""
    shutil.copyfile(log, folder / name)
    (folder / _TIMES).write_text(json.dumps(round(time.monotonic() - start, 1)))


class _Following:
    """Turns the lines that a tool writes into progress, from the fraction `low` to `high`."""

    def __init__(self, tell: Tell, low: float, high: float, stage: str) -> None:
        self._tell, self._low, self._high, self._stage = tell, low, high, stage
        self._lines = 0
        tell(low, stage)

    def _step(self, detail: str) -> None:
        share = 1 - math.exp(-self._lines / _TYPICAL_LINES)
        self._tell(self._low + (self._high - self._low) * share, f"{self._stage} {detail}")

    def yosys(self, line: str) -> None:
        self._lines += 1
        if ". Executing " in line:
            self._step(line.split(". Executing ")[1].split()[0].rstrip(".").lower())

    def again(self, stage: str) -> None:
        self._stage = stage
        self._step("")

    def nextpnr(self, line: str) -> None:
        self._lines += 1
        round_ = _ROUND.match(line)
        if round_ and int(round_[1]) > PLACER_ROUNDS:
            raise _EndlessPlacement
        if line.startswith("Info: Routing"):
            self._stage, self._low = "routing", _PLACED
        if line.startswith("Info: "):
            self._step("")


def _cells(netlist: Path) -> dict[str, int]:
    return json.loads((netlist / STATISTICS).read_text())["design"]["num_cells_by_type"]


def _check_netlist(design: Design, cells: dict[str, int], used: Area) -> None:
    """Raises SpikeletError for a netlist with multipliers, or one that its part has no room for."""
    found = [f"{cells[name]} {name}" for name in MULTIPLIERS[design.board.family]
             if cells.get(name)]
    if found:
        raise SpikeletError(f"there are multipliers in the netlist of '{design.configuration.name}'"
                            f" for {design.board.name}: {', '.join(found)}; the design must not "
                            "have any")
    lacking = used.lacking(design.part)
    if lacking:
        raise design.unfit(lacking)


def _result(design: Design, netlist: Path, routed: Path, used: Area, there: bool) -> Bitstream:
    flow, part = design.flow, design.part
    report = json.loads((routed / REPORT).read_text())
    cells = report["utilization"]

    def count(names: tuple[str, ...], has: int) -> Used:
        return Used(sum(cells[n]["used"] for n in names if n in cells), has)

    clocks = report["fmax"].values()
    slowest = min(clocks, key=lambda clock: clock["achieved"] / clock["constraint"])
    return Bitstream(
        path=routed / f"{TOP}{flow.bitstream}",
        folder=routed,
        logic=count(flow.logic, part.logic),
        flip_flops=count(flow.flip_flops, part.flip_flops),
        blocks=count(flow.blocks, part.blocks),
        multipliers=used.multipliers,
        fmax_hz=slowest["achieved"] * 1e6,
        clock_hz=design.clock_hz,
        synthesis_seconds=json.loads((netlist / _TIMES).read_text()),
        place_seconds=json.loads((routed / _TIMES).read_text()),
        from_cache=there,
    )
