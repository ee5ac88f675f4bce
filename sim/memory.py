"""What stands for external memory in a simulated device."""

from dataclasses import dataclass

from hdl.memory.sdram_timing import SDRAM_32MB, SdramTiming
from isa.configurations import Configuration


@dataclass(frozen=True)
class SimulatedMemory:
    """With a `chip`: its controller, and a model of the chip that checks its timing at `clock_hz`.

    With None: a memory right behind the device's port, which answers at once, but for random
    stalls.
    """

    chip: SdramTiming | None = SDRAM_32MB
    clock_hz: float = 80e6

    def definitions(self, c: Configuration) -> dict[str, str]:
        """What sim/harness.cc is compiled with."""
        if not c.external_words:
            return {}
        t = self.chip
        if t is None:
            return {"SPIKELET_MEMORY_WORDS": str(c.external_words)}
        sizes = (t.row_bits, t.column_bits, t.bank_bits, t.cas_latency, t.t_mrd, t.first_refreshes)
        times = (1e9 / self.clock_hz, t.t_rcd, t.t_rp, t.t_ras, t.t_ras_maximum, t.t_rc, t.t_rfc,
                 t.t_rrd, t.t_wr, t.power_up, t.refresh_interval)  # fmt: skip
        return {"SPIKELET_SDRAM": ",".join(map(str, (*sizes, *times)))}
