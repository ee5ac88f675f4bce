"""An SDR SDRAM chip on the pins of a board."""

from collections.abc import Mapping
from dataclasses import dataclass

from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import Component, In, Member, Out, connect

from hdl.memory.sdram import SdramController, sdram_signature
from hdl.memory.sdram_pins import SUBSIGNALS, PinRegisters, SdramPins
from hdl.memory.sdram_timing import SdramTiming


@dataclass(frozen=True)
class SdramMemory:
    """A chip of this timing, the platform's resource ("sdram", 0)."""

    timing: SdramTiming

    late_domain = "sdram"

    @property
    def words(self) -> int:
        return self.timing.words

    @property
    def ports(self) -> Mapping[str, Member]:
        """The chip's signals as the chip sees them, behind the registers at the pins."""
        members = sdram_signature(self.timing).members
        return {f"sdram_{name}": (In if member.flow is In else Out)(member.shape)
                for name, member in members.items()}  # fmt: skip

    def component(self, clock_hz: float) -> SdramController:
        return SdramController(self.timing, clock_hz)

    def attach(self, m: Module, platform: object, core: Component,
               signals: Mapping[str, Signal]) -> None:
        if platform is not None:
            port = platform.request("sdram", dir=dict.fromkeys(SUBSIGNALS, "-"))
            m.submodules.sdram_pins = pins = SdramPins(port, self.timing, self.late_domain)
            connect(m, core.sdram, pins.controller)
            return
        m.submodules.sdram_registers = registers = PinRegisters(self.timing)
        connect(m, core.sdram, registers.controller)
        for name in registers.chip.signature.members:
            inside, outside = getattr(registers.chip, name), signals[f"sdram_{name}"]
            m.d.comb += inside.eq(outside) if name == "data_in" else outside.eq(inside)
