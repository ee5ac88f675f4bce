"""Waits: which instructions of the other units must be complete before one may start.

Each unit runs its instructions in order, the three units side by side. An instruction waits for
the last one of another unit that wrote what it reads, or read or wrote what it writes.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

UNITS = ("fire", "post", "vector")
Cells = Iterable[tuple[str, int, int]]  # (memory, first, how many)


@dataclass
class Hazards:
    """Keeps, for every memory cell, the ordinal of its last reader and writer in each unit."""

    count: dict[str, int] = field(default_factory=lambda: dict.fromkeys(UNITS, 0))
    _written: dict = field(default_factory=lambda: defaultdict(lambda: defaultdict(int)))
    _read: dict = field(default_factory=lambda: defaultdict(lambda: defaultdict(int)))

    def waits(self, unit: str, reads: Cells, writes: Cells) -> dict[str, int]:
        """The wait fields of the next instruction of `unit`, which is then booked."""
        reads, writes = list(reads), list(writes)
        self.count[unit] += 1
        result = {}
        for other in UNITS:
            if other == unit:
                continue
            written, read = self._written[other], self._read[other]
            need = 0
            for cell in _cells(reads):
                need = max(need, written[cell])
            for cell in _cells(writes):
                need = max(need, written[cell], read[cell])
            result[f"wait_{other}"] = need
        for cell in _cells(reads):
            self._read[unit][cell] = self.count[unit]
        for cell in _cells(writes):
            self._written[unit][cell] = self.count[unit]
        return result


def _cells(ranges: Cells) -> Iterable[tuple[str, int]]:
    return ((memory, i) for memory, first, n in ranges for i in range(first, first + n))
