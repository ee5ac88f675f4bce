"""The tools of each family: what synthesises, places, routes and packs, and with which options."""

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

# The wires of the largest configuration are a tenth shorter than with nextpnr's default placer.
# Rounds: whole devices took 527 to 634; one, with nearly all block RAM and most logic cells of a
# small part in use, went on for ever (docs/clock_diary.md).
_PLACER, _STEADY_PLACER = "static", "heap"
PLACER_ROUNDS = 1_000
"""Of the placer, after which it is taken for one that comes to no end."""


@dataclass(frozen=True)
class Placing:
    """How a netlist is placed and routed: for which clock, from which seed; with a look at what
    every wire means for the clock, or for short wires alone, which is faster."""

    clock_hz: float
    seed: int
    timing_driven: bool


@dataclass(frozen=True)
class Flow:
    """A family's way from RTLIL to a bitstream.

    synthesis(clock_hz, part) is a Yosys script. prepare(design, part) makes a netlist, as it was
    read from JSON, ready for the placer. place(plan, platform, options) and pack(plan, platform)
    give the arguments of their tools, which run in a folder with the constraints and NETLIST, and
    leave REPORT and the bitstream TOP + `bitstream`.
    """

    synthesis: Callable[[float, str], str]
    placer: Tool
    packer: Tool
    constraints: str
    bitstream: str
    prepare: Callable[[dict, str], dict]
    place: Callable[[BuildPlan, object, Placing], list[str]]
    pack: Callable[[BuildPlan, object], list[str]]
    logic: tuple[str, ...]  # names in REPORT: look-up tables and adders
    flip_flops: tuple[str, ...]
    blocks: tuple[str, ...]

    @property
    def tools(self) -> tuple[Tool, ...]:
        return (tools.YOSYS, self.placer, self.packer)


# Nothing reads a word in the cycle in which it is written, so no port needs a bypass. Amaranth's
# ports ask for the old data there; those with transparency keep it.
_NO_BYPASS = ("setparam -set COLLISION_X_MASK 1'1 t:$memrd_v2 r:CLK_ENABLE=1 %i "
              "r:TRANSPARENCY_MASK=1'0 %i; ")


# Registers whose signals are to be kept are copies of others, each for a part of the chip. The
# attribute lies on the signal, and what joins equal cells asks the cell.
_COPIES = "setattr -set keep 1 a:keep=1 %ci t:$*ff* %i; "


def _slack(clock_hz: float) -> str:
    # ABC9 maps for the least delay unless it is given one; with slack it saves half of the look-up
    # tables. Its delays are without most of the wires, which take two thirds of a period. Beyond
    # some nanoseconds it saves little more.
    return f"scratchpad -set abc9.D {round(min(0.28e12 / clock_hz, 3500))}; "


def _synth_ecp5(clock_hz: float, part: str) -> str:
    return f"{_NO_BYPASS}{_COPIES}{_slack(clock_hz)}synth_ecp5 -no-rw-check -top {TOP}"


def _synth_gowin(clock_hz: float, part: str) -> str:
    # Amaranth brings the pins' buffers; Yosys would give some to the ports of modules, too.
    family = part[:4].lower()  # gw2a, gw5a
    return (f"{_NO_BYPASS}{_slack(clock_hz)}"
            f"synth_gowin -family {family} -noiopads -no-rw-check -top {TOP}")


def _synth_ice40(clock_hz: float, part: str) -> str:
    # There is no RAM in look-up tables: memories that ask for it become block RAM.
    return (f"{_NO_BYPASS}setattr -unset ram_style */m:*; "
            f"synth_ice40 -device u -no-rw-check -top {TOP}")


def _command(plan: BuildPlan, number: int) -> list[str]:
    """The arguments that Amaranth gives the tool of a step."""
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
    # One run: a design read back from nextpnr's JSON has lost the constants at block RAM's
    # unconnected inputs, and so has its bitstream.
    return [*_command(plan, 1), "--placer", _PLACER, *_common(options)]


def steady(arguments: list[str]) -> list[str]:
    """The placer's arguments for a netlist with which PLACER_ROUNDS were not enough."""
    return [_STEADY_PLACER if word == _PLACER else word for word in arguments]


def _common(options: Placing) -> list[str]:
    # Timing is judged here, with the report at hand: the tool would only say that it failed.
    short = [] if options.timing_driven else ["--no-tmdriv"]
    return ["--report", REPORT, "--timing-allow-fail", "--seed", str(options.seed),
            "--freq", f"{options.clock_hz / 1e6:.6f}", *short]


def _amaranth_pack(plan: BuildPlan, platform: object) -> list[str]:
    return _command(plan, 2)


def _gowin(plan: BuildPlan, platform: object, options: Placing) -> list[str]:
    # Amaranth 0.5 knows nextpnr's former Gowin port only, which had other options.
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
