"""Programs and runs at random, and what the sequencer must make of them."""

from collections import deque
from dataclasses import dataclass, field
from random import Random

from isa.instructions import RECORDS, Opcode
from isa.registers import Stop

UNITS = {"fire": Opcode.FIRE, "post": Opcode.POST, "vector": Opcode.VECTOR}


@dataclass(frozen=True)
class Instruction:
    """An instruction word with the unit it is for (None: END, HEAD) and its waits."""

    unit: str | None
    word: int
    waits: dict[str, int] = field(default_factory=dict)


HEAD = Instruction(None, RECORDS[Opcode.HEAD].pack(opcode=Opcode.HEAD))
END = Instruction(None, RECORDS[Opcode.END].pack(opcode=Opcode.END))


def instruction(rng: Random, unit: str, waits: dict[str, int]) -> Instruction:
    """Random in all but opcode and waits (0 unless given): no word can be taken for another."""
    record = RECORDS[UNITS[unit]]
    values = {f.name: rng.getrandbits(f.bits) - (f.signed << f.bits - 1) for f in record.fields}
    others = [other for other in UNITS if other != unit]
    values |= {"opcode": UNITS[unit]} | {f"wait_{other}": waits.get(other, 0) for other in others}
    return Instruction(unit, record.pack(**values), waits)


def program(rng: Random, body: int, head: int, wait: float = 0.5) -> list[Instruction]:
    """`body` instructions, HEAD, `head` more with a POST among them, END.

    A wait asks for as many completions as the other unit has instructions before, or for fewer:
    that is what makes it legal.
    """
    before, result = dict.fromkeys(UNITS, 0), []
    favourite = rng.choice(list(UNITS))
    for index in range(body + head):
        unit = rng.choice((*UNITS, favourite))
        if index == body:
            result.append(HEAD)
            unit = "post"
        waits = {other: 0 for other in UNITS if other != unit}
        for other in waits:
            if rng.random() < wait:
                most = before[other]
                waits[other] = rng.choice((most, rng.randint(0, most), max(0, most - 1)))
        result.append(instruction(rng, unit, waits))
        before[unit] += 1
    return [*result, END]


@dataclass
class Token:
    """A position that is run: its token, the instructions of it, and what comes out."""

    token: int
    position: int
    instructions: list[Instruction]
    made: int | None  # the token sent to the host after it


@dataclass
class Run:
    """One RUN: what the host asks for."""

    prompt: list[int]
    generate: int
    reset: bool
    next_tokens: list[int]  # what the post unit finds after each position from the prompt's last on
    stop_after: int | None = None  # STOP comes while the n-th position of the run goes on


def expected(
    run: Run, code: list[Instruction], position: int, settings: dict[str, int]
) -> tuple[list[Token], Stop]:
    """The positions of a run that begins at `position`, and why it ends."""
    until_end = code[: code.index(END)] if END in code else code
    until_head = until_end[: until_end.index(HEAD)] if HEAD in until_end else until_end
    tokens: list[Token] = []
    pending, made = deque(run.prompt), 0
    while True:
        if position >= settings["context"]:
            return tokens, Stop.CONTEXT_FULL
        token, last = pending.popleft(), not pending
        instructions = [i for i in (until_end if last else until_head) if i.unit is not None]
        new = run.next_tokens[made] if last else None
        tokens.append(Token(token, position, instructions, new))
        position += 1
        if last:
            pending.append(new)
            made += 1
            if settings["end_token_enable"] and new == settings["end_token"]:
                return tokens, Stop.END_TOKEN
            if made >= run.generate:
                return tokens, Stop.COUNT
        if run.stop_after is not None and len(tokens) > run.stop_after:
            return tokens, Stop.STOPPED
