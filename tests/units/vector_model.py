"""What VECTOR instructions do: the golden device's executor, and every write that a unit must make.

The executor holds each access against isa/effects.py, so these random instructions check the
declaration, too.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from golden.device.accesses import Stored
from golden.device.execute import Executor
from golden.device.machine import Write
from golden.device.memories import Memories
from golden.units.functions import Tables
from isa.access import Resource
from isa.configurations import Configuration
from isa.instructions import VECTOR as INSTRUCTION
from isa.instructions import Opcode, Operation
from isa.packets import Space
from isa.registers import REGISTERS
from tests.units.tables import table_words

MAGNITUDES = 64  # that tests name; the unit does not know how many there are
ROWS = 1 << 19  # likewise


@dataclass
class Written:
    """Writes of one instruction, each list in order."""

    vector: list = field(default_factory=list)  # (address, lanes)
    magnitudes: list = field(default_factory=list)  # (register, value)
    scalars: list = field(default_factory=list)  # (register, mantissa, exponent)
    key_exponents: list = field(default_factory=list)  # (address, lane, exponent)
    value_exponents: list = field(default_factory=list)
    rows: dict = field(default_factory=dict)  # (core, row, lane): byte
    row_writes: int = 0
    trace: list = field(default_factory=list)  # (codes, exponent)
    saturations: int = 0


class VectorModel:
    """State that VECTOR instructions read and write, and `execute`."""

    def __init__(self, c: Configuration, tables: Tables):
        self.c = c
        deep = replace(c, magnitudes=MAGNITUDES, row_depth=ROWS,
                       exponent_depth=2 * c.exponent_depth)
        self._m = m = Memories(deep)
        for space, words in table_words(tables).items():
            m.write(space, 0, np.array(words, dtype=np.uint32))
        self._executor = Executor(m, None, None, checked=True)
        self._executor.at.log = []
        self.memory, self.rotation = m.resources[Resource.VECTOR], m.rotation
        self.exponents = m.resources[Resource.VALUE_EXPONENT]
        self.magnitudes, self.maxima, self.alignments = m.magnitudes, m.maxima, m.alignments
        self.position = 0
        self.settings = {"silu_widen": 0, "product_shift": 12, "exponent_stride": 1}

    @property
    def rotation_base(self) -> int:
        """The rotation memory word of the position."""
        return self.position * self.settings.get("rotation_stride", 0)

    @property
    def key_row_offset(self) -> int:
        """Rows from a layer's first keys to those of the position."""
        return self.position // self.c.lanes * self.settings.get("key_stride", 0)

    def execute(self, fields: dict) -> Written:
        """Runs an instruction (its fields by name) on the state and returns what it wrote."""
        fields = INSTRUCTION.unpack(INSTRUCTION.pack(opcode=Opcode.VECTOR, **fields))
        if fields["operation"] == Operation.SOFTMAX:
            scores = self.memory[fields["source"] :].reshape(-1)[: self.position + 1]
            assert self.maxima[fields["maximum"]] == scores.max()
        x, m = self._executor, self._m
        for name, value in self.settings.items():
            m.write(Space.REGISTER, REGISTERS[name].address, np.array([value], dtype=np.uint32))
        x.begin()
        x.position, x.trace = self.position, []
        x.at.log.clear()
        before = m.counters["saturations"]
        assert not list(x.execute(0, fields)), "a VECTOR instruction waits for nothing"
        done = Written(saturations=m.counters["saturations"] - before)
        for stored in x.at.log:
            self._record(done, stored)
        for write in x.trace:
            if write.unit == "key_value":
                self._codes(done, write)
        return done

    def _record(self, done: Written, stored: Stored) -> None:
        first, values, inner = stored.first, stored.values, stored.inner
        match stored.resource:
            case Resource.VECTOR:
                done.vector += [(first + i, tuple(word)) for i, word in enumerate(values.tolist())]
            case Resource.MAGNITUDE:
                done.magnitudes += [(first + i, v) for i, v in enumerate(values.tolist())]
            case Resource.SCALAR:
                done.scalars += [(first, *values[0].tolist())]
            case Resource.KEY_EXPONENT:
                done.key_exponents.append((first, inner[0], int(values[0])))
            case Resource.VALUE_EXPONENT:
                done.value_exponents.append((first, inner[0], int(values[0])))
            case Resource.ROW if isinstance(inner[0], slice):  # keys: a lane of all cores
                done.rows |= {(core, first + r, inner[1]): byte
                              for r, row in enumerate(values.tolist())
                              for core, byte in enumerate(row)}
                done.row_writes += len(values)
            case Resource.ROW:  # values: lanes of one core, which the unit writes word by word
                done.rows |= {(inner[0], first, inner[1].start + lane): byte
                              for lane, byte in enumerate(values[0].tolist())}
                done.row_writes += values.size // self.c.vector_lanes
            case Resource.ALIGNMENT:  # inside the unit
                pass
            case other:
                raise AssertionError(f"VECTOR wrote {other}")

    def _codes(self, done: Written, write: Write) -> None:
        words = write.data.reshape(-1, self.c.vector_lanes).tolist()
        done.trace += [(tuple(word), int(e))
                       for word, e in zip(words, write.exponents, strict=True)]
