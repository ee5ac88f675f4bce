"""The way of every instruction to the memories, where it is held against its declaration.

An access that isa/effects.py does not declare for the instruction raises `UndeclaredAccess`: then
the compiler's waits would not cover it, and the hardware might read what is not there yet.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from golden.device.memories import Memories
from golden.units.functions import Tables
from isa.access import Effect, Extent, Mode, Resource, names_of
from isa.effects import effect
from isa.instructions import Opcode, Operation

TABLES = {
    "exp2_base": Resource.EXP2, "exp2_slope": Resource.EXP2,
    "silu_base": Resource.SILU, "silu_slope": Resource.SILU,
    "rsqrt": Resource.RSQRT, "reciprocal": Resource.RECIPROCAL,
}  # fmt: skip


class UndeclaredAccess(Exception):
    """An instruction touched what isa/effects.py does not say of it."""


@dataclass(frozen=True)
class Stored:
    """Values that an instruction wrote from address `first` of a resource on.

    inner: the part of each address, as in `Accesses.write`.
    """

    resource: Resource
    first: int
    values: np.ndarray
    inner: tuple[int | slice, ...]


class _Names(dict):
    """Fields and settings, with position and token; `moves`: whether these were asked for."""

    def __init__(self, static: Mapping[str, object], where: Mapping[str, int]) -> None:
        super().__init__(static)
        self._where, self.moves = where, False

    def __missing__(self, key: str) -> int:
        self.moves = True
        return self._where[key]


class _CheckedTables:
    """The function tables, each of which an instruction may use only where it says so."""

    def __init__(self, accesses: "Accesses", tables: Tables) -> None:
        self._accesses, self._tables = accesses, tables

    def __getattr__(self, name: str) -> np.ndarray:
        table = getattr(self._tables, name)
        self._accesses.touch(Mode.READ, TABLES[name], 0, len(table))
        return table


class Accesses:
    """Reads and writes the memories for one instruction at a time.

    `enter` names the instruction, `leave` ends it. checked: compare with the declaration; without
    it nothing is looked up. log: when not None, collects what is written.
    """

    def __init__(self, memories: Memories, checked: bool) -> None:
        self._m, self.checked = memories, checked
        self.log: list[Stored] | None = None
        self._extents: dict[tuple[Mode, Resource], list[Extent]] = {}
        self._static: dict[tuple[int, ...], dict[tuple[Mode, Resource], list[Extent]]] = {}
        self._moved: dict[tuple[Mode, Resource], int] = {}
        self.begin()

    def begin(self) -> None:
        """Takes over settings and tables, once before a run."""
        self.settings = self._m.settings()
        self._tables = self._m.tables()
        self._checked_tables = _CheckedTables(self, self._tables)
        self._static.clear()

    # ---- which instruction --------------------------------------------------------------------

    def enter(self, pc: int, fields: Mapping[str, int], position: int, token: int) -> None:
        """From now on instruction `pc`, with these fields, at this position, makes the accesses."""
        if not self.checked:
            return
        self._pc, self._fields, self._position = pc, fields, position
        self._effect: Effect = effect(fields)
        self._moved.clear()
        word = tuple(fields.values())
        if word in self._static:
            self._extents = self._static[word]
            return
        names = _Names(names_of(fields, self.settings, self._m.c),
                       {"position": position, "token": token})
        self._extents = {}
        for extent in self._effect.extents(names):
            self._extents.setdefault((extent.mode, extent.resource), []).append(extent)
        if not names.moves:
            self._static[word] = self._extents

    def leave(self) -> None:
        """The instruction is done: what it said it takes and gives must have come and gone."""
        if not self.checked:
            return
        for (mode, resource), extents in self._extents.items():
            if mode in (Mode.TAKE, Mode.GIVE):
                said, moved = extents[0].end, self._moved.get((mode, resource), 0)
                if said != moved:
                    self._fail(f"{mode} {moved} of {resource.name}, declared are {said}")

    def _fail(self, what: str) -> None:
        name = effect_name(self._fields)
        raise UndeclaredAccess(
            f"{name} (instruction {self._pc}, position {self._position}) {what} (isa/effects.py)"
        )

    # ---- accesses -----------------------------------------------------------------------------

    def touch(self, mode: Mode, resource: Resource, first: int, count: int = 1,
              lane: int = 0, lanes: int = 1) -> None:
        """Holds an access against the declaration."""
        if not self.checked:
            return
        extents = self._extents.get((mode, resource), ())
        wanted = Extent(mode, resource, first, first + count, lane, lane + lanes)
        if not any(extent.covers(wanted) for extent in extents):
            declared = ", ".join(
                f"{e.first}..{e.end - 1}" + (f" lanes {e.lane}..{e.lane_end - 1}" if e.lane else "")
                for e in extents
            ) or "none"
            where = f"{first}..{first + count - 1}" if count != 1 else str(first)
            lanes_text = f" lanes {lane}..{lane + lanes - 1}" if lane else ""
            self._fail(f"{mode} {resource.name} {where}{lanes_text}, declared are: {declared}")

    def read(self, resource: Resource, first: int, count: int = 1) -> np.ndarray:
        """`count` addresses of a memory or register file, not to be written to."""
        memory = self._m.resources[resource]
        if self.checked:
            lanes = memory.shape[-1] if memory.ndim > 1 else 1
            self.touch(Mode.READ, resource, first, count, 0, lanes)
        view = memory[first : first + count]
        view.flags.writeable = False
        return view

    def write(self, resource: Resource, first: int, values: np.ndarray,
              *inner: int | slice) -> None:
        """Values for the addresses from `first` on, one along the first axis for each; inner: the
        part of each address that they go to, lanes last; without it all of it."""
        memory = self._m.resources[resource]
        values = np.asarray(values)
        if self.checked:
            lane, lanes = 0, memory.shape[-1] if memory.ndim > 1 else 1
            if inner and isinstance(inner[-1], slice):
                lane, lanes = inner[-1].start, inner[-1].stop - inner[-1].start
            elif inner:
                lane, lanes = inner[-1], 1
            self.touch(Mode.WRITE, resource, first, len(values), lane, lanes)
        memory[(slice(first, first + len(values)), *inner)] = values
        if self.log is not None:
            self.log.append(Stored(resource, first, values.copy(), inner))

    def move(self, mode: Mode, resource: Resource, count: int, lane: int = 0,
             lanes: int = 1) -> None:
        """`count` entries go into or come out of a queue."""
        if not self.checked:
            return
        key = mode, resource
        self._moved[key] = self._moved.get(key, 0) + count
        self.touch(mode, resource, 0, self._moved[key], lane, lanes)

    def setting(self, name: str) -> int:
        """The value of a setting that the instruction depends on."""
        if self.checked and name not in self._effect.names:
            self._fail(f"reads the setting {name}, which is not declared")
        return self.settings[name]

    @property
    def tables(self) -> Tables:
        """The function tables."""
        return self._checked_tables if self.checked else self._tables


def effect_name(fields: Mapping[str, int]) -> str:
    """An instruction in a message: FIRE, POST, or the operation of VECTOR."""
    if fields["opcode"] != Opcode.VECTOR:
        return Opcode(fields["opcode"]).name
    operation = fields["operation"]
    known = operation in set(Operation)
    return Operation(operation).name if known else f"operation {operation}"
