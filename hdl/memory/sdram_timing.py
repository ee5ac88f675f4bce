"""What an SDR SDRAM chip asks for, in nanoseconds and in clock cycles."""

from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True)
class SdramTiming:
    """Sizes and shortest times of a chip; the names are those of its data sheet."""

    name: str
    row_bits: int = 13
    column_bits: int = 9
    bank_bits: int = 2
    data_bits: int = 16
    t_rcd: float = 21.0  # ACTIVATE to READ or WRITE, ns
    t_rp: float = 21.0  # PRECHARGE to ACTIVATE or REFRESH
    t_ras: float = 44.0  # ACTIVATE to PRECHARGE
    t_ras_maximum: float = 100_000.0  # a row may not stay open for longer
    t_rc: float = 66.0  # ACTIVATE to ACTIVATE of a bank
    t_rfc: float = 66.0  # REFRESH to ACTIVATE or REFRESH
    t_rrd: float = 15.0  # ACTIVATE to ACTIVATE of another bank
    t_wr: float = 15.0  # last word written to PRECHARGE; at least two cycles
    t_mrd: int = 2  # mode register to anything, cycles
    power_up: float = 200_000.0  # before the first command
    first_refreshes: int = 8  # before the mode register is loaded
    refresh_period: float = 64_000_000.0  # in which every row is refreshed
    cas_latency: int = 3  # cycles

    @property
    def words(self) -> int:
        """32-bit words."""
        return 1 << self.row_bits + self.column_bits + self.bank_bits - 1

    @property
    def refresh_interval(self) -> float:
        """Nanoseconds from one refresh to the next, on average."""
        return self.refresh_period / (1 << self.row_bits)


def cycles(nanoseconds: float, clock_hz: float) -> int:
    """Whole cycles that last at least so long."""
    return ceil(nanoseconds * clock_hz / 1e9 - 1e-6)


# The longest times of MT48LC16M16A2-75, AS4C16M16SA-7 and IS42S16160G-7: 32 MB, as on the ULX3S.
SDRAM_32MB = SdramTiming("16M x 16")
