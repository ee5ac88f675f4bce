"""Writes docs/isa.md, the contract in words, from the declarations in this package.

    python -m isa.documentation
"""

import inspect
import re
from collections.abc import Iterable, Sequence
from dataclasses import fields
from enum import IntEnum
from pathlib import Path

from isa import (
    effects,
    external,
    formats,
    frames,
    image,
    instructions,
    packets,
    registers,
    schedule,
)
from isa.access import Access, Effect, Mode, Resource
from isa.configurations import CONFIGURATIONS, Configuration
from isa.formats import IntegerFormat
from isa.meanings import FORMATS, MEANINGS, SPACES
from isa.record import Record
from isa.registers import Register

PATH = Path(__file__).resolve().parents[1] / "docs" / "isa.md"

_SPACE_WORDS = {"ROW": "P / 4", "PARAMETER": "V / 2", "ROTATION": "V / 2", "VECTOR": "V",
                "PROGRAM": str(instructions.INSTRUCTION_LINK_WORDS)}


_FRAME_CONSTANTS = (
    "FRAME_VERSION", "MARK", "ESCAPE", "ESCAPE_XOR", "MAXIMUM_WORDS", "HOST_WINDOW_WORDS", "BAUD",
    "DEVICE_RESEND_SECONDS", "DEVICE_RESEND_LIMIT",
)  # fmt: skip

def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """A Markdown table."""
    lines = [[str(cell).replace("|", r"\|") for cell in row] for row in rows]
    lines = [head, ["---"] * len(head), *lines]
    return [f"| {' | '.join(line)} |" for line in lines] + [""]


def _docstring(documented: object) -> list[str]:
    """Its text; lines that begin with a NAME and two spaces become a list."""
    lines = inspect.cleandoc(documented.__doc__).splitlines()
    return [re.sub(r"^([A-Z]+)  +", r"- \1: ", line) for line in lines] + [""]


def _record(record: Record, title: str) -> list[str]:
    rows, at = [], 0
    for field in record.fields:
        top = at + field.bits - 1
        bits = f"{top}:{at}" if field.bits > 1 else str(at)
        sign = "signed" if field.signed else ""
        rows.append((bits, f"`{field.name}`", field.bits, sign, field.description))
        at += field.bits
    head = ("bits", "field", "width", "", "meaning")
    return [f"### {title}", "", record.description, "", *table(head, rows)]


def _registers(title: str, group: Iterable[Register]) -> list[str]:
    rows = [(f"0x{r.address:02X}", f"`{r.name}`", f"{r.bits}{' signed' if r.signed else ''}",
             r.description) for r in group]
    return [f"### {title}", "", *table(("address", "name", "bits", "meaning"), rows)]


def _enumeration(title: str, members: type[IntEnum]) -> list[str]:
    meanings = MEANINGS.get(members, {})
    rows = [(f"0x{int(m):02X}", f"`{m.name}`", meanings.get(m.name, "")) for m in members]
    head = ("code", "name", "meaning")
    if not meanings:
        head, rows = head[:2], [row[:2] for row in rows]
    return [f"### {title}", "", *table(head, rows)]


def _number_formats() -> list[str]:
    rows = []
    for name, meaning in FORMATS.items():
        number: IntegerFormat = getattr(formats, name)
        sign = "signed" if number.signed else "unsigned"
        rows.append((f"`{name}`", number.bits, sign, f"{number.minimum} .. {number.maximum}",
                     meaning))
    constants = [(f"`{name}`", value) for name, value in vars(formats).items()
                 if name.isupper() and isinstance(value, int)]
    return ["## Number formats", "", "Two's complement integers. Signed ranges are symmetric.", "",
            *table(("name", "bits", "", "range", "meaning"), rows),
            *table(("constant", "value"), constants)]


def _instructions() -> list[str]:
    lines = ["## Instructions", "", *_docstring(instructions)]
    lines += [f"An instruction has {instructions.INSTRUCTION_BITS} bits; bits above its last field "
              "are 0.", ""]
    lines += _enumeration("Opcodes", instructions.Opcode)
    for record in (instructions.FIRE, instructions.POST, instructions.VECTOR):
        lines += _record(record, record.name)
    lines += _enumeration("Scale of POST", instructions.Scale)
    return lines + _enumeration("Operation of VECTOR", instructions.Operation)


def _access(access: Access) -> tuple[str, ...]:
    queue = access.mode in (Mode.TAKE, Mode.GIVE)
    count = str(access.count)
    if str(access.stride) != "0":
        count += f", and again {access.stride} further on: {access.blocks} times in all"
    lanes = "" if access.lane is None else f"{access.lanes} from {access.lane}"
    when = "" if str(access.when) == "1" else str(access.when)
    return (f"{access.mode} `{access.resource.name}`", "" if queue else str(access.first), count,
            lanes, when)


def _effect(title: str, effect: Effect) -> list[str]:
    lines = [f"### {title} touches", ""]
    lines += table(("", "from", "how many", "lanes", "only if"), map(_access, effect.accesses))
    if effect.settings:
        lines += ["Settings of its arithmetic: "
                  + ", ".join(f"`{name}`" for name in effect.settings) + ".", ""]
    return lines


def _effects() -> list[str]:
    lines = ["## What instructions touch", "", *_docstring(effects)]
    lines += table(("resource", "one address of it"),
                   ((f"`{r.name}`", r.value) for r in Resource))
    lines += table(("short for", ""), effects.DEFINITIONS.items())
    lines += _effect("FIRE", effects.FIRE) + _effect("POST", effects.POST)
    for number, effect in effects.OPERATIONS.items():
        lines += _effect(instructions.Operation(number).name, effect)
    return lines


def _packets() -> list[str]:
    lines = ["## Packets", "", *_docstring(packets)]
    lines += _record(packets.HEADER, "Header")
    lines += _enumeration("Kinds", packets.Kind) + _enumeration("Faults", packets.Fault)
    rows = [(f"{int(flag)}", f"`{flag.name}`") for flag in packets.RunFlag]
    lines += ["### Flags of RUN", "", *table(("bit mask", "name"), rows)]
    lines += [
        "### A run", "",
        "RUN with a prompt of at least one token and n >= 1: each prompt token goes through the",
        "model, what follows HEAD only for the last of them. Then TOKEN comes (after LOGITS, where",
        "the flag asks for them), its token goes through the model in turn, and so on until DONE:",
        "after n tokens, after the end token, when the context is full, or after STOP. The last",
        "token is not run: a RUN that continues begins with it.", "",
        "With streamed weights the host sends, for every position, the rows of its token, then the",
        "rows and parameters of the layers, then those of the head where the head runs. With",
        "external weights the device reads them itself.", "",
    ]  # fmt: skip
    lines += _enumeration("Reasons of DONE", registers.Stop)
    rows = [(f"0x{int(space):02X}", f"`{space.name}`", _SPACE_WORDS.get(space.name, "1"),
             SPACES[space.name]) for space in packets.Space]
    return lines + [
        "### Spaces", "",
        "The address unit is the link word: entry i begins at i times the words of an entry.",
        "P: lanes, G: cores, V: vector lanes of the configuration.", "",
        *table(("code", "space", "words an entry", "contents"), rows),
    ]  # fmt: skip


def _frames() -> list[str]:
    lines = ["## Frames on a serial line", "", *_docstring(frames)]
    lines += _record(frames.HEADER, "Header of a frame")
    lines += _enumeration("Types of frames", frames.FrameType)
    lines += ["### Words of WELCOME", "", *table(("word", "name", "meaning"), (
        (i, f"`{name}`", meaning) for i, (name, meaning) in enumerate(frames.WELCOME_FIELDS)))]
    rows = []
    for name in _FRAME_CONSTANTS:
        value = getattr(frames, name)
        in_bytes = name in ("MARK", "ESCAPE", "ESCAPE_XOR")
        rows.append((f"`{name}`", f"0x{value:02X}" if in_bytes else value))
    return lines + ["### Limits and times", "", *table(("constant", "value"), rows)]


def _external() -> list[str]:
    return ["## External memory", "", *_docstring(external),
            *_record(external.PART, "Header of a part")]


def _schedule() -> list[str]:
    lines = ["## Firing schedule", "", *_docstring(schedule.Schedule)]
    lines += _record(schedule.STEP, "Step")
    rows = []
    for make in schedule.SCHEDULES.values():
        program = make()
        first, last = program.steps[0], program.steps[-1]
        rows.append((f"`{program.name}`", len(program.steps),
                     f"{first.threshold} .. {last.threshold}",
                     f"{1 << first.amplitude} .. {1 << last.amplitude}",
                     first.reset.name.lower(),
                     "cleared" if last.leak == schedule.LEAK_CLEAR else last.leak))
    return lines + ["### Schedules", "",
                    *table(("name", "steps", "thresholds", "amplitudes", "reset", "leak"), rows)]


def _image() -> list[str]:
    rows, at = [], 0
    for name, size, meaning in image.HEADER_FIELDS:
        rows.append((at, f"`{name}`", size, meaning))
        at += size
    lines = ["## Model image", "", *_docstring(image)]
    return lines + table(("byte", "field", "bytes", "meaning"), rows)


def _configurations() -> list[str]:
    named = list(CONFIGURATIONS.values())
    rows = [(f"`{f.name}`", *(getattr(c, f.name) for c in named))
            for f in fields(Configuration) if f.name not in ("name", "description")]
    rows.append(("identity", *(f"{c.identity:08x}" for c in named)))
    return ["## Configurations", "",
            *(f"- `{c.name}`: {c.description}" for c in named), "",
            *table(("size", *(f"`{c.name}`" for c in named)), rows)]


def text() -> str:
    """The whole of docs/isa.md."""
    lines = [
        "# The contract", "",
        "Generated from `isa/` by `python -m isa.documentation`; a test keeps it current.", "",
        f"Contract version: {registers.CONTRACT_VERSION}.", "",
        *_number_formats(), *_instructions(), *_effects(), *_packets(), *_frames(),
        "## Registers", "", *_docstring(registers),
        *_registers("Settings", registers.SETTINGS),
        *_registers("Identity", registers.IDENTITY),
        *_registers("Counters", registers.COUNTERS),
        *_external(), *_schedule(), *_image(), *_configurations(),
    ]  # fmt: skip
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(text(), encoding="utf-8")
    print(PATH)
