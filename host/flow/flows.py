"""The tools of each family of FPGAs and their options: synthesis, place and route, packing."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from amaranth.build.run import BuildPlan

from hdl.boards.board import Family
from host.flow import carries, floorplan, global_nets, tools
from host.flow.tools import Tool

TOP = "spikelet"
"""The name of the design, and of every file of it."""

NETLIST, STATISTICS, REPORT = f"{TOP}.json", "cells.json", "report.json"

# nextpnr's placer "static" gives the largest configuration wires that are a tenth shorter than
# those of its default "heap", which is used where the other one does not finish.
_PLACER, _STEADY_PLACER = "static", "heap"
# Whole devices took 527 to 634 rounds. One that used nearly all block RAM and most logic cells of a
# small part did not finish at all (docs/clock_diary.md).
PLACER_ROUNDS = 1_000
"""Rounds of the placer after which it is taken for one that will not finish."""


@dataclass(frozen=True)
class Placing:
    """How a netlist is placed and routed.

    Attributes:
        clock_hz: the clock to reach.
        seed: another one gives another placement.
        timing_driven: whether to look at what each wire means for the clock. Otherwise short wires
            are the only aim, which takes less time.
    """

    clock_hz: float
    seed: int
    timing_driven: bool


@dataclass(frozen=True)
class Flow:
    """A family's way from RTLIL to a bitstream.

    The placer and the packer run in a folder with the constraints and NETLIST. They leave REPORT
    and the bitstream there.

    Attributes:
        synthesis: maps (clock_hz, part) to a script for Yosys.
        placer, packer: the tools behind synthesis.
        constraints, bitstream: the suffixes of these files, whose names begin with TOP.
        prepare: maps (design, part) to a netlist for the placer; a design is Yosys' JSON.
        place: maps (plan, platform, options) to the placer's arguments.
        pack: maps (plan, platform) to the packer's arguments.
        logic, flip_flops, blocks: what REPORT calls them. Look-up tables and adders are logic.
    """

    synthesis: Callable[[float, str], str]
    placer: Tool
    packer: Tool
    constraints: str
    bitstream: str
    prepare: Callable[[dict, str], dict]
    place: Callable[[BuildPlan, object, Placing], list[str]]
    pack: Callable[[BuildPlan, object], list[str]]
    logic: tuple[str, ...]
    flip_flops: tuple[str, ...]
    blocks: tuple[str, ...]

    @property
    def tools(self) -> tuple[Tool, ...]:
        """All tools of the way, in the order in which they run."""
        return (tools.YOSYS, self.placer, self.packer)


# No word is read in the cycle in which it is written, unless by a port that was made transparent.
# Amaranth asks for the old data in that case, and Yosys would build a bypass for it. This says that
# the data does not matter.
_NO_BYPASS = ("setparam -set COLLISION_X_MASK 1'1 t:$memrd_v2 r:CLK_ENABLE=1 %i "
              "r:TRANSPARENCY_MASK=1'0 %i; ")


# Some registers are copies of others, each for a part of the chip, and marked to be kept
# (hdl/lib/copies.py). The mark is on the signal, but Yosys looks for it on the cell when it joins
# equal ones, so it is set there.
_COPIES = "setattr -set keep 1 a:keep=1 %ci t:$*ff* %i; "


def _slack(clock_hz: float) -> str:
    """Tells Yosys' technology mapping (ABC9) how much delay it may leave between registers.

    Without a number it maps for the least delay, and takes twice as many look-up tables. It does
    not know most of the wires, which take two thirds of a period, so it gets 28 % of it. More than
    3.5 ns saves little.
    """
    return f"scratchpad -set abc9.D {round(min(0.28e12 / clock_hz, 3500))}; "


def _synth_ecp5(clock_hz: float, part: str) -> str:
    return f"{_NO_BYPASS}{_COPIES}{_slack(clock_hz)}synth_ecp5 -no-rw-check -top {TOP}"


def _synth_gowin(clock_hz: float, part: str) -> str:
    # Amaranth has added the buffers of the pins. Yosys would add some to ports of modules, too.
    family = part[:4].lower()  # gw2a, gw5a
    return (f"{_NO_BYPASS}{_slack(clock_hz)}"
            f"synth_gowin -family {family} -noiopads -no-rw-check -top {TOP}")


def _synth_ice40(clock_hz: float, part: str) -> str:
    # The family has no memory in look-up tables: what asks for it becomes block RAM.
    return (f"{_NO_BYPASS}setattr -unset ram_style */m:*; "
            f"synth_ice40 -device u -no-rw-check -top {TOP}")


def _command(plan: BuildPlan, number: int) -> list[str]:
    """The arguments of a step of Amaranth's plan: 0 is synthesis, 1 the placer, 2 the packer."""
    command = json.loads(plan.files[f"build_{TOP}.json"])["commands"][number]
    return [word for word in command[1:] if word != "--quiet"]


def _prepare_ecp5(design: dict, part: str) -> dict:
    floorplan.place_blocks(design, part)
    carries.begin_chains(design)
    global_nets.free_logic(design)
    return design


def _as_it_is(design: dict, part: str) -> dict:
    return design


def _nextpnr(plan: BuildPlan, platform: object, options: Placing) -> list[str]:
    # Placement and routing are one run. A design that nextpnr reads back from its own JSON lacks
    # the constants at inputs of block RAM that are not connected, and so would the bitstream.
    return [*_command(plan, 1), "--placer", _PLACER, *_common(options)]


def steady(arguments: list[str]) -> list[str]:
    """The placer's arguments for a netlist that needs more than PLACER_ROUNDS."""
    return [_STEADY_PLACER if word == _PLACER else word for word in arguments]


def _common(options: Placing) -> list[str]:
    # A missed clock must not stop the tool: `build` reads its report and says what was reached.
    short = [] if options.timing_driven else ["--no-tmdriv"]
    return ["--report", REPORT, "--timing-allow-fail", "--seed", str(options.seed),
            "--freq", f"{options.clock_hz / 1e6:.6f}", *short]


def _amaranth_pack(plan: BuildPlan, platform: object) -> list[str]:
    return _command(plan, 2)


def _gowin(plan: BuildPlan, platform: object, options: Placing) -> list[str]:
    # Amaranth 0.5 only has the options of nextpnr's former program for Gowin.
    return ["--device", platform.part, "--json", NETLIST, "--write", f"{TOP}.pnr.json",
            "--vopt", f"family={platform.family}", "--vopt", f"cst={TOP}.cst",
            *_common(options)]


def _gowin_pack(plan: BuildPlan, platform: object) -> list[str]:
    return ["-d", platform.family, "-o", f"{TOP}.fs", f"{TOP}.pnr.json"]


FLOWS = {
    Family.ecp5: Flow(
        _synth_ecp5, tools.NEXTPNR_ECP5, tools.ECPPACK, ".lpf", ".bit",
        _prepare_ecp5, _nextpnr, _amaranth_pack, ("TRELLIS_COMB",), ("TRELLIS_FF",), ("DP16KD",),
    ),
    Family.gowin: Flow(
        _synth_gowin, tools.NEXTPNR_GOWIN, tools.GOWIN_PACK, ".cst",
        ".fs", _as_it_is, _gowin, _gowin_pack, ("LUT4", "ALU"), ("DFF",), ("BSRAM",),
    ),
    Family.ice40: Flow(
        _synth_ice40, tools.NEXTPNR_ICE40, tools.ICEPACK, ".pcf", ".bin",
        _as_it_is, _nextpnr, _amaranth_pack, ("ICESTORM_LC",), (), ("ICESTORM_RAM",),
    ),
}  # fmt: skip
