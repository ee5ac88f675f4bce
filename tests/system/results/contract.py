"""What isa/ fixes, as numbers: whoever holds a bitstream or an image of today relies on them."""

import random
from enum import Enum

import numpy as np

from host.transport.packets import packet
from isa import external, frames, instructions, packets, registers, schedule
from isa.configurations import CONFIGURATIONS
from isa.frames import FrameType
from isa.image import HEADER_FIELDS, MAGIC
from isa.packets import Kind, RunFlag, Space
from isa.record import Record

RECORDS = {
    **{r.name: r for r in instructions.RECORDS.values()},
    "step": schedule.STEP, "part": external.PART, "packet": packets.HEADER,
    "frame": frames.HEADER,
}  # fmt: skip
ENUMS: tuple[type[Enum], ...] = (
    instructions.Opcode, instructions.Operation, instructions.Scale, packets.Kind, packets.Space,
    packets.Fault, packets.RunFlag, registers.Stop, schedule.Reset, frames.FrameType,
)  # fmt: skip
ENCODINGS = 4  # of each record


def contract() -> dict:
    """Every number of the contract, and samples of what is encoded by it."""
    return {
        "versions": {"contract": registers.CONTRACT_VERSION, "frames": frames.FRAME_VERSION,
                     "image": MAGIC.decode()},
        "image_header": [[name, size] for name, size, _ in HEADER_FIELDS],
        "configurations": {c.name: c.identity for c in CONFIGURATIONS.values()},
        "registers": {name: [r.address, r.bits, r.signed]
                      for name, r in registers.REGISTERS.items()},
        "enums": {e.__name__: {member.name: int(member) for member in e} for e in ENUMS},
        "opcode_records": {o.name: r.name for o, r in instructions.RECORDS.items()},
        "records": {name: _fields(r) for name, r in RECORDS.items()},
        "encodings": {name: [f"{_random(r, n):x}" for n in range(ENCODINGS)]
                      for name, r in RECORDS.items()},
        "packets": {name: [f"{word:08x}" for word in words.tolist()]
                    for name, words in _packets().items()},
        "frames": {name: frame.hex() for name, frame in _frames().items()},
        "schedules": {name: {"words": [f"{word:x}" for word in s.words()], "start": list(s.start)}
                      for name, s in (("phase", schedule.phase_schedule()),
                                      ("unary", schedule.unary_schedule()))},
    }


def _fields(record: Record) -> list:
    return [[f.name, f.bits, f.signed] for f in record.fields]


def _random(record: Record, n: int) -> int:
    """The record with random fields; a field's value depends on its name and on n only."""
    values = {}
    for f in record.fields:
        value = random.Random(f"{record.name} {f.name} {n}").getrandbits(f.bits)
        values[f.name] = value - (1 << f.bits - 1) if f.signed else value
    return record.pack(**values)


def _packets() -> dict[str, np.ndarray]:
    data = np.array([1, 0xFFFFFFFF, 0x12345678], np.uint32)
    return {
        "write": packet(Kind.WRITE, space=Space.PROGRAM, value=16, payload=data),
        "read": packet(Kind.READ, space=Space.REGISTER, value=0x80, length=18),
        "stream": packet(Kind.STREAM, space=Space.PARAMETER, payload=data),
        "run": packet(Kind.RUN, flags=RunFlag.RESET | RunFlag.LOGITS, value=5, payload=data[:1]),
        "stop": packet(Kind.STOP),
    }


def _frames() -> dict[str, bytes]:
    session, payload = 0x7E7D1234, frames.words_payload([0x7E7D7E7D, 0, 0xFFFFFFFF, 0x01020304])
    welcome = frames.Welcome(frames.FRAME_VERSION, session, registers.CONTRACT_VERSION,
                             CONFIGURATIONS["ulx3s"].identity, 0xCAFE, 80_000_000, 512)
    return {
        "hello": frames.Frame(FrameType.HELLO, payload=frames.words_payload(
            [frames.FRAME_VERSION, session])).encoded(session),
        "welcome": frames.Frame(FrameType.WELCOME, payload=frames.words_payload(
            welcome.words)).encoded(session),
        "lost": frames.Frame(FrameType.LOST).encoded(0),
        "data": frames.Frame(FrameType.DATA, 0xFFFE, 0x7D7E, payload).encoded(session),
        "acknowledge": frames.Frame(FrameType.ACK, acknowledge=77).encoded(session),
        "poll": frames.Frame(FrameType.POLL, 9, 77).encoded(session),
    }
