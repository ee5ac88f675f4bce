"""Waits: which instructions of the other units must be complete before one may start.

Each unit runs its instructions in order, the three units side by side. An instruction waits for
the last one of another unit that wrote what it reads, or read or wrote what it writes. What each
touches is declared in isa/effects.py; queues and rings keep their order by themselves.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from isa.access import Extent, Mode, Resource, names_of
from isa.configurations import Configuration
from isa.effects import effect
from isa.registers import SETTINGS

UNITS = ("fire", "post", "vector")


class Hazards:
    """Follows the program, for every position of a context at once.

    Args:
        settings: those of the image, as far as addresses depend on them, with its `context`.
    """

    def __init__(self, c: Configuration, settings: Mapping[str, int]) -> None:
        self._c = c
        self._settings = {register.name: 0 for register in SETTINGS} | dict(settings)
        self._count = dict.fromkeys(UNITS, 0)
        self._touched: dict[tuple[str, Mode], dict[Resource, list[tuple[int, Extent]]]] = {
            (unit, mode): {} for unit in UNITS for mode in (Mode.READ, Mode.WRITE)
        }

    def gather(
        self, fire: Mapping[str, int], post: Mapping[str, int]
    ) -> tuple[dict[str, int], dict[str, int]]:
        """The wait fields of a FIRE and of the POST that drains its tiles, the program's next ones.

        FIRE reads whole rows, but what it gathers in lanes that POST does not drain is lost: it
        need not wait for a layer that keeps its values in those lanes.
        """
        drained = next(e for e in self._extents(post) if e.resource is Resource.TILE)
        rows = [replace(e, lane=drained.lane, lane_end=drained.lane_end)
                if e.resource is Resource.ROW else e for e in self._extents(fire)]
        return self._waits("fire", rows), self._waits("post", self._extents(post))

    def vector(self, fields: Mapping[str, int]) -> dict[str, int]:
        """The wait fields of a VECTOR instruction, the program's next one."""
        return self._waits("vector", self._extents(fields))

    def _extents(self, fields: Mapping[str, int]) -> list[Extent]:
        vocabulary = fields.get("tile_stride", 1) * self._c.cores
        names = names_of(fields, self._settings, self._c, token=(0, max(0, vocabulary - 1)),
                         position=(0, self._settings["context"] - 1))
        return list(effect(fields).extents(names))

    def _waits(self, unit: str, extents: Iterable[Extent]) -> dict[str, int]:
        extents = [e for e in extents if e.mode in (Mode.READ, Mode.WRITE)]
        waits = {f"wait_{other}": self._last(other, extents) for other in UNITS if other != unit}
        self._count[unit] += 1
        for extent in extents:
            before = self._touched[unit, extent.mode].setdefault(extent.resource, [])
            # The unit's earlier instructions are complete when this one is.
            before[:] = [both for both in before if not extent.covers(both[1])]
            before.append((self._count[unit], extent))
        return waits

    def _last(self, unit: str, extents: Iterable[Extent]) -> int:
        """How many instructions of the unit must be complete."""
        last = 0
        for extent in extents:
            modes = (Mode.WRITE,) if extent.mode is Mode.READ else (Mode.READ, Mode.WRITE)
            for mode in modes:
                for number, other in self._touched[unit, mode].get(extent.resource, ()):
                    if number > last and extent.overlaps(other):
                        last = number
        return last
