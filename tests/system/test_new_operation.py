"""An operation that nobody ever heard of, and which places must know it.

NEGATE writes the negative of a vector. Here it is added to copies of the tables; in the tree it
would be

    isa/instructions.py            its number
    isa/effects.py                 what it reads and writes
    golden/device/operations.py    what it does
    hdl/units/vector/              the circuit
    host/compiler/program.py       where a program has it

Nothing else: the compiler's waits, the golden device's check, docs/isa.md (python -m
isa.documentation) and the model in the unit's test follow. A test of the unit draws from all
operations, and asserts that every one has its declaration and its meaning.
"""

import re
from enum import IntEnum
from pathlib import Path

import numpy as np
import pytest

from golden.device.accesses import UndeclaredAccess
from golden.device.execute import Executor
from golden.device.machine import Fields, Machine
from golden.device.memories import Memories
from golden.device.operations import OPERATIONS
from host.compiler.hazards import Hazards
from isa import documentation, effects, instructions
from isa.access import Access, Effect, Mode, Resource
from isa.configurations import configuration
from isa.expression import name
from isa.instructions import RECORDS, Opcode, Operation

ROOT = Path(__file__).resolve().parents[2]
NEGATE = max(Operation) + 1
C = configuration("tiny")
EFFECT = Effect((
    Access(Mode.READ, Resource.VECTOR, name("source"), name("count")),
    Access(Mode.WRITE, Resource.VECTOR, name("destination"), name("count")),
))  # fmt: skip


def negate(x: Machine, f: Fields) -> None:
    x.store("vector", f["destination"], -x.elements(f["source"], f["count"] * x.c.vector_lanes))


@pytest.fixture
def declared(monkeypatch):
    """Number and declaration in copies of the tables."""
    more = {**{o.name: o.value for o in Operation}, "NEGATE": NEGATE}
    monkeypatch.setattr(instructions, "Operation", IntEnum("Operation", more))
    monkeypatch.setitem(effects.OPERATIONS, NEGATE, EFFECT)


def complete(opcode: Opcode, **fields: int) -> Fields:
    return RECORDS[opcode].unpack(RECORDS[opcode].pack(opcode=opcode, **fields))


def execute(fields: Fields) -> np.ndarray:
    """Vector memory after the instruction; it held 0, 1, 2, ..."""
    memories = Memories(C)
    memories.vector[:] = np.arange(memories.vector.size)
    executor = Executor(memories, None, None, checked=True)
    executor.operations[NEGATE] = negate
    assert not list(executor.execute(0, fields))
    return memories.vector


def test_the_golden_device_executes_and_checks_it(monkeypatch, declared):
    fields = complete(Opcode.VECTOR, operation=NEGATE, source=3, destination=20, count=2)
    vector = execute(fields)
    assert vector[80:89].tolist() == [-12, -13, -14, -15, -16, -17, -18, -19, 88]
    blind = Effect(EFFECT.accesses[1:])
    monkeypatch.setitem(effects.OPERATIONS, NEGATE, blind)
    with pytest.raises(UndeclaredAccess, match=rf"^operation {NEGATE} .*reads VECTOR 3\.\.4, "
                                               "declared are: none"):
        execute(fields)


def test_the_compiler_makes_it_wait(declared):
    hazards = Hazards(C, {"context": 8})
    gather = (complete(Opcode.FIRE, source=0, count=8, outputs=8, tile_stride=4),
              complete(Opcode.POST, count=8, to_vector=1, destination=4, magnitude=1))
    assert hazards.gather(*gather)[1] == {"wait_fire": 0, "wait_vector": 0}
    # It reads what POST 1 writes, and writes what FIRE 1 reads.
    both = complete(Opcode.VECTOR, operation=NEGATE, source=5, destination=1, count=1)
    assert hazards.vector(both) == {"wait_fire": 1, "wait_post": 1}
    neither = complete(Opcode.VECTOR, operation=NEGATE, source=8, destination=9, count=1)
    assert hazards.vector(neither) == {"wait_fire": 0, "wait_post": 0}
    # The next FIRE reads what VECTOR 1 writes, the next POST writes what it reads.
    assert hazards.gather(*gather) == ({"wait_post": 0, "wait_vector": 1},
                                       {"wait_fire": 0, "wait_vector": 1})


def test_the_documentation_shows_it(declared):
    text = documentation.text()
    assert f"| 0x{NEGATE:02X} | `NEGATE` |" in text
    section = text[text.index("### NEGATE touches") :]
    assert "| reads `VECTOR` | source | count |" in section
    assert "| writes `VECTOR` | destination | count |" in section


def test_every_operation_has_a_meaning():
    assert set(OPERATIONS) == set(Operation)


@pytest.mark.parametrize("operation", Operation, ids=lambda operation: operation.name)
def test_places_that_know_an_operation(operation):
    """No file of the tree names an operation but those that the docstring lists."""
    known = {"isa/effects.py", "golden/device/operations.py", "host/compiler/program.py"}
    for folder in ("isa", "golden", "hdl", "sim", "host"):
        for path in (ROOT / folder).rglob("*.py"):
            if re.search(rf"\bOperation\.{operation.name}\b", path.read_text(encoding="utf-8")):
                where = path.relative_to(ROOT).as_posix()
                assert where in known or where.startswith("hdl/units/vector/"), where
