"""A board's design as files for the tools: RTLIL, constraints and Amaranth's commands."""

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
    """What is built: a board with a device of `configuration`, perhaps with a model in it.

    core_hz: clock asked for (None: the board's own choice). seed, timing_driven: of placement
    and routing.
    """

    board: Board
    configuration: Configuration
    contents: Contents = EMPTY
    core_hz: int | None = None
    seed: int = 1
    timing_driven: bool = False

    def top(self) -> BoardTop:
        """Raises SpikeletError where the clock cannot be made."""
        return BoardTop(self.board, self.configuration, self.contents, self.core_hz)

    @property
    def clock_hz(self) -> int:
        """Of the device. Raises as `top`."""
        return core_clock(self.board, self.core_hz)[1]

    @property
    def placing(self) -> Placing:
        return Placing(self.clock_hz, self.seed, self.timing_driven)

    @cached_property
    def platform(self) -> object:
        """For its properties."""
        return self.board.platform_class()()

    @property
    def flow(self) -> Flow:
        """Raises SpikeletError where the board is for the vendor's tools only."""
        if self.board.family not in FLOWS:
            raise SpikeletError(f"no open tools build for {self.board.name} ({self.board.part}): "
                                "use --verilog, which writes a project for the vendor's")
        return FLOWS[self.board.family]

    @property
    def part(self) -> Part:
        platform = self.platform
        return PARTS[getattr(platform, "device", None) or platform.family]

    def plan(self, toolchain: str | None = None) -> BuildPlan:
        """Amaranth's files, elaborated anew, for the open tools or a vendor's toolchain."""
        platform = self.board.platform_class()()  # one platform takes one design
        platform.toolchain = toolchain or platform.toolchain
        with elaborating():
            return platform.prepare(self.top(), TOP, emit_src=False)

    def check_rows(self) -> None:
        """Raises SpikeletError where the rows alone, packed without a gap, overflow the part."""
        c, part = self.configuration, self.part
        block = next(bits for name, bits in _BLOCK_BITS.items() if part.name.startswith(name))
        least = -(-c.row_depth * c.cores * c.lanes * 8 // block)
        if least > part.blocks:
            raise self.unfit([f"at least {least} block RAMs for its rows, {least - part.blocks} "
                              f"more than its {part.blocks}"])

    def unfit(self, lacking: list[str]) -> SpikeletError:
        """The error that says what is missing, and which configuration fits."""
        others = fitting(self.board.family, self.part)
        hint = f"what fits: {', '.join(others)}" if others else "no configuration is known to fit"
        return SpikeletError(f"the configuration '{self.configuration.name}' does not fit the "
                             f"{self.part.name} of {self.board.name}: it takes "
                             f"{' and '.join(lacking)}; {hint}")
