"""docs/isa.md says what isa/ declares."""

import pytest

from isa import documentation, formats, frames, instructions, packets, registers
from isa.formats import IntegerFormat

CURRENT = documentation.text()


def test_the_file_is_current():
    written = documentation.PATH.read_text(encoding="utf-8")
    assert written == CURRENT, "run python -m isa.documentation"


@pytest.mark.parametrize("record", [*instructions.RECORDS.values(), packets.HEADER,
                                    frames.HEADER],
                         ids=lambda record: record.name)
def test_every_field_is_there(record):
    if record is not instructions.CONTROL:
        for field in record.fields:
            assert f"| `{field.name}` | {field.bits} |" in CURRENT


def test_every_register_is_there():
    for register in registers.REGISTERS.values():
        assert f"| 0x{register.address:02X} | `{register.name}` |" in CURRENT


def test_every_name_is_there():
    enumerations = (packets.Kind, packets.Space, packets.Fault, registers.Stop, frames.FrameType,
                    instructions.Opcode, instructions.Operation, instructions.Scale)
    for member in (member for enumeration in enumerations for member in enumeration):
        assert f"| 0x{int(member):02X} | `{member.name}` |" in CURRENT
    for name, value in vars(formats).items():
        if isinstance(value, IntegerFormat):
            assert f"| `{name}` | {value.bits} |" in CURRENT


@pytest.mark.parametrize("enumeration",
                         [packets.Kind, packets.Fault, registers.Stop, frames.FrameType])
def test_every_meaning_is_there(enumeration):
    for member in enumeration:
        line = next(line for line in CURRENT.splitlines()
                    if line.startswith(f"| 0x{int(member):02X} | `{member.name}` |"))
        assert len(line.split("|")[3].strip()) > 10
    assert "| 0x01 | `END_TOKEN` | the end token came out |" in CURRENT
    assert "| 0x01 | `FIRE` |  |" in CURRENT


def test_bit_positions_add_up():
    """The last field of FIRE ends where the record ends."""
    last = instructions.FIRE.fields[-1]
    top = instructions.FIRE.bits - 1
    bits = str(top) if last.bits == 1 else f"{top}:{top - last.bits + 1}"
    assert f"| {bits} | `{last.name}` |" in CURRENT
