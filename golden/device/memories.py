"""The golden device's memories, loaded and read through the same link words as the hardware's."""

import numpy as np

from golden.units.functions import Tables, default_tables
from isa.access import Resource
from isa.configurations import Configuration
from isa.formats import (
    CODE,
    EXP2_PIECES,
    RECIPROCAL_ENTRIES,
    RSQRT_ENTRIES,
    SCHEDULE_STEPS,
    SILU_PIECES,
)
from isa.instructions import INSTRUCTION_LINK_WORDS
from isa.packets import Space
from isa.registers import (
    CONTRACT_VERSION,
    COUNTERS,
    EXTERNAL_SETTINGS,
    IDENTITY_MAGIC,
    SETTINGS,
)
from isa.schedule import STEP, Reset, Schedule, Step


def _sign(values: np.ndarray, bits: int) -> np.ndarray:
    """The low `bits` bits of each word as a two's complement number (int64)."""
    values = values.astype(np.int64) & ((1 << bits) - 1)
    return values - ((values >> (bits - 1)) << bits)


class Memories:
    """Every memory and register of a device, as arrays of plain integers.

    link: by space, the contents of what the host can load, in link words. resources: by resource,
    what instructions address (isa/access.py), one address along the first axis. Both are views of
    the same memory where they overlap, so a write through one is seen through the other.
    """

    def __init__(self, c: Configuration) -> None:
        self.c = c
        words = {
            Space.ROW: c.row_depth * c.cores * c.lanes // 4,
            Space.PARAMETER: c.parameter_depth * c.vector_lanes // 2,
            Space.ROTATION: c.rotation_depth * c.vector_lanes // 2,
            Space.PROGRAM: c.program_depth * INSTRUCTION_LINK_WORDS,
            Space.SCHEDULE: SCHEDULE_STEPS,
            Space.EXP2: EXP2_PIECES,
            Space.SILU: SILU_PIECES,
            Space.RSQRT: RSQRT_ENTRIES,
            Space.RECIPROCAL: RECIPROCAL_ENTRIES,
            Space.REGISTER: 0x100,
            Space.EXTERNAL: c.external_words,
        }
        self.link = {space: np.zeros(n, dtype=np.uint32) for space, n in words.items()}
        self.rows = self.link[Space.ROW].view(np.int8).reshape(c.row_depth, c.cores, c.lanes)
        self.parameters = self.link[Space.PARAMETER].view(np.uint16).reshape(-1, c.vector_lanes)
        self.rotation = self.link[Space.ROTATION].view(np.int16).reshape(-1, c.vector_lanes)
        self.vector = np.zeros(c.vector_depth * c.vector_lanes, dtype=np.int64)
        self.key_exponents = np.zeros(c.exponent_depth * c.vector_lanes, dtype=np.int64)
        self.value_exponents = np.zeros(c.exponent_depth * c.vector_lanes, dtype=np.int64)
        self.alignments = np.zeros(c.alignments, dtype=np.int64)
        self.magnitudes = np.zeros(c.magnitudes, dtype=np.int64)
        self.maxima = np.zeros(c.maxima, dtype=np.int64)
        self.scalars = np.zeros((c.scalars, 2), dtype=np.int64)
        self.counters = {r.name: 0 for r in COUNTERS}
        self.resources = {
            Resource.VECTOR: self.vector.reshape(-1, c.vector_lanes),
            Resource.ROW: self.rows,
            Resource.PARAMETER: self.parameters,
            Resource.ROTATION: self.rotation,
            Resource.KEY_EXPONENT: self.key_exponents.reshape(-1, c.vector_lanes),
            Resource.VALUE_EXPONENT: self.value_exponents.reshape(-1, c.vector_lanes),
            Resource.MAGNITUDE: self.magnitudes,
            Resource.MAXIMUM: self.maxima,
            Resource.SCALAR: self.scalars,
            Resource.ALIGNMENT: self.alignments,
        }

    def write(self, space: Space, address: int, words: np.ndarray) -> None:
        """Link words into a memory; what falls outside it is dropped, as in hardware."""
        memory = self.link[space]
        keep = words[: max(0, len(memory) - address)]
        if space is Space.REGISTER:
            for r in COUNTERS:  # writing a counter clears it
                if address <= r.address < address + len(keep):
                    self.counters[r.name] = 0
        memory[address : address + len(keep)] = keep

    def read(self, space: Space, address: int, length: int) -> np.ndarray:
        """Link words out of a memory; 0 beyond its end."""
        if space is Space.VECTOR:
            memory = self.vector.astype(np.uint32)
        elif space is Space.REGISTER:
            memory = np.zeros_like(self.link[space])
            settings = self.settings()
            for r in SETTINGS:
                memory[r.address] = settings[r.name] & 0xFFFFFFFF
            memory[0x40:0x43] = (IDENTITY_MAGIC, CONTRACT_VERSION, self.c.identity)
            for r in COUNTERS:
                memory[r.address] = self.counters[r.name] & 0xFFFFFFFF
        else:
            memory = self.link[space]
        result = np.zeros(length, dtype=np.uint32)
        part = memory[address : address + length]
        result[: len(part)] = part
        return result

    def settings(self) -> dict[str, int]:
        """The configuration registers, each cut to its width."""
        raw = self.link[Space.REGISTER]
        values = {}
        for r in SETTINGS:
            value = int(raw[r.address]) & ((1 << r.bits) - 1)
            if r.name in EXTERNAL_SETTINGS and not self.c.external_words:
                value = 0
            values[r.name] = value - (1 << r.bits) if r.signed and value >> (r.bits - 1) else value
        return values

    def tables(self) -> Tables:
        """The function neurons' tables as they were loaded."""
        exp2, silu = self.link[Space.EXP2], self.link[Space.SILU]
        reciprocal = self.link[Space.RECIPROCAL].astype(np.int64) & 0xFF
        return Tables(
            exp2_base=exp2.astype(np.int64) & 0xFFFF,
            exp2_slope=_sign(exp2 >> np.uint32(16), 8),
            silu_base=_sign(silu, 24),
            silu_slope=_sign(silu >> np.uint32(24), 8),
            rsqrt=self.link[Space.RSQRT].astype(np.int64) & 0xFF,
            reciprocal=reciprocal,
        )

    def schedule(self, settings: dict[str, int], first_step: int = 0) -> Schedule:
        """The firing schedule that was loaded from entry `first_step` on."""
        steps = []
        for word in self.link[Space.SCHEDULE][first_step:]:
            f = STEP.unpack(int(word))
            steps.append(
                Step(
                    max(f["threshold"], 1), f["amplitude"], f["leak"], Reset(f["reset"] % 3),
                    bool(f["integrate"]), bool(f["final_when_zero"]),
                )
            )  # fmt: skip
            if f["last"]:
                break
        start = tuple(min(settings[f"start_{b}"], len(steps) - 1) for b in range(CODE.bits))
        return Schedule("loaded", tuple(steps), start, bool(settings["skip_silent"]))


assert default_tables().silu_base.max() < 1 << 23
