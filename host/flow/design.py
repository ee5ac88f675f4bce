"""The design of a board as files for the tools: RTLIL, constraints and Amaranth's commands."""

from dataclasses import dataclass
from functools import cached_property

from amaranth.build.run import BuildPlan

from hdl.boards.board import Board
from hdl.boards.pll import core_clock
from hdl.boards.top import BoardTop
from hdl.emit import elaborating
from host.flow.area import PARTS, Part
from host.flow.flows import FLOWS, TOP, Flow, Placing
from host.flow.recorded import fitting
from isa.configurations import Configuration
from isa.contents import EMPTY, Contents
from isa.errors import SpikeletError

_BLOCK_BITS = {"LFE5U": 18_432, "GW2A": 18_432, "GW5A": 18_432, "iCE40": 4_096}


@dataclass(frozen=True)
class Design:
    """What is to be built.

    Attributes:
        board: the board whose top it is.
        configuration: of the device on it.
        contents: what lies in the memories at power-on, such as a model.
        core_hz: the clock that is asked for; None leaves it to the board.
        seed: of placement and routing.
        timing_driven: whether placement and routing look at the clock or only for short wires.
    """

    board: Board
    configuration: Configuration
    contents: Contents = EMPTY
    core_hz: int | None = None
    seed: int = 1
    timing_driven: bool = False

    def top(self) -> BoardTop:
        """The top module.

        Raises:
            SpikeletError: the board cannot make the clock that is asked for.
        """
        return BoardTop(self.board, self.configuration, self.contents, self.core_hz)

    @property
    def clock_hz(self) -> int:
        """The clock of the device, which may differ from what was asked for. Raises as `top`."""
        return core_clock(self.board, self.core_hz)[1]

    @property
    def placing(self) -> Placing:
        return Placing(self.clock_hz, self.seed, self.timing_driven)

    @cached_property
    def platform(self) -> object:
        """A platform to ask for the properties of the part. It takes no design: see `plan`."""
        return self.board.platform_class()()

    @property
    def flow(self) -> Flow:
        """The open tools for the board's family.

        Raises:
            SpikeletError: there are none: only the vendor's tools build for it.
        """
        if self.board.family not in FLOWS:
            raise SpikeletError(f"no open tools build for {self.board.name} ({self.board.part}): "
                                "use --verilog, which writes a project for the vendor's")
        return FLOWS[self.board.family]

    @property
    def part(self) -> Part:
        platform = self.platform
        return PARTS[getattr(platform, "device", None) or platform.family]

    def plan(self, toolchain: str | None = None) -> BuildPlan:
        """Elaborates the design: Amaranth's files for the open tools or a vendor's toolchain."""
        platform = self.board.platform_class()()  # a platform takes a single design
        platform.toolchain = toolchain or platform.toolchain
        with elaborating():
            return platform.prepare(self.top(), TOP, emit_src=False)

    def check_rows(self) -> None:
        """Refuses early, before elaboration, a device whose row memory alone is too large.

        Raises:
            SpikeletError: the part has fewer block RAMs than the rows fill without a gap.
        """
        c, part = self.configuration, self.part
        block = next(bits for name, bits in _BLOCK_BITS.items() if part.name.startswith(name))
        least = -(-c.row_depth * c.cores * c.lanes * 8 // block)
        if least > part.blocks:
            raise self.unfit([f"at least {least} block RAMs for its rows, {least - part.blocks} "
                              f"more than its {part.blocks}"])

    def unfit(self, lacking: list[str]) -> SpikeletError:
        """The error for a part that lacks something; it names configurations that would fit."""
        others = fitting(self.board.family, self.part)
        hint = f"what fits: {', '.join(others)}" if others else "no configuration is known to fit"
        return SpikeletError(f"the configuration '{self.configuration.name}' does not fit the "
                             f"{self.part.name} of {self.board.name}: it takes "
                             f"{' and '.join(lacking)}; {hint}")
