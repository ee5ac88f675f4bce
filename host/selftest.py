"""Checks a device against the golden device: registers, memories, each unit, a generation.

A check of units or generation sends the same words to both devices and compares what it reads back.
To check the units, the program of a random model is cut short after each instruction in turn.
So the first difference names the instruction that has made it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from golden.device.device import GoldenDevice
from golden.device.machine import Write
from host.driver import Driver
from host.transport import Transport
from host.transport.golden import GoldenTransport
from host.transport.packets import PacketLink, packet
from isa.configurations import Configuration
from isa.image import Image
from isa.instructions import INSTRUCTION_LINK_WORDS, RECORDS, Opcode, Operation
from isa.packets import Kind, RunFlag, Space
from isa.registers import COUNTERS, EXTERNAL_SETTINGS, SETTINGS, Register

PROMPT = 3  # tokens with which a program that is cut is run
_CHUNK = 1 << 12  # words that are read or written at a time
_BLOCK = 64  # words of external memory that are checked at each address
# Counters that do not count time: they have to be the golden device's.
_UNTIMED = [r.name for r in COUNTERS if not r.name.endswith("cycles")]

Tell = Callable[[float, str], None]


@dataclass(frozen=True)
class Check:
    """The result of a check: what was checked, and how much of it.

    `difference` says what the first difference is; it is None where the check has passed.
    """

    name: str
    amount: str
    difference: str | None = None


def check_registers(board: Transport, c: Configuration, seed: int) -> Check:
    """Checks that every setting keeps zeros, ones and random bits, while all others are written."""
    link, random = PacketLink(board), np.random.default_rng(seed)
    first, patterns = SETTINGS[0].address, 4
    for number in range(patterns):
        fill = (0, 0xFFFFFFFF)[number] if number < 2 else None
        words = random.integers(0, 1 << 32, len(SETTINGS), np.uint32)
        wrote = words if fill is None else np.full(len(SETTINGS), fill, np.uint32)
        link.write(Space.REGISTER, first, wrote)
        found = link.read(Space.REGISTER, first, len(SETTINGS))
        for r in SETTINGS:
            absent = r.name in EXTERNAL_SETTINGS and not c.external_words
            expected = 0 if absent else _held(r, int(wrote[r.address - first]))
            got = int(found[r.address - first])
            if got != expected:
                return Check("registers", "", f"{r.name}: expected 0x{expected:x}, got 0x{got:x}")
    return Check("registers", f"{len(SETTINGS)} settings, {patterns} patterns")


def _held(r: Register, word: int) -> int:
    """What a setting gives back after `word` was written: its own bits, with their sign."""
    value = word & (1 << r.bits) - 1
    if r.signed and value >> r.bits - 1:
        value -= 1 << r.bits
    return value & 0xFFFFFFFF


def check_rows(board: Transport, c: Configuration, seed: int, tell: Tell,
               limit: int | None = None) -> Check:
    """Checks that row memory keeps random words, and then their complements.

    Every row gets different words, so a row that is written in the place of another is found, too.
    With `limit`, only so many rows at each end are checked.
    """
    link, random = PacketLink(board), np.random.default_rng(seed)
    each = c.cores * c.lanes // 4
    rows = np.arange(c.row_depth)
    parts = [rows] if limit is None or 2 * limit >= len(rows) else [rows[:limit], rows[-limit:]]
    words = {int(part[0]) * each: random.integers(0, 1 << 32, len(part) * each, np.uint32)
             for part in parts}
    total, done = 4 * sum(map(len, words.values())), 0
    for invert in (0, 0xFFFFFFFF):
        for address, pattern in words.items():
            for at, part in _chunks(pattern ^ np.uint32(invert)):
                link.write(Space.ROW, address + at, part)
                done += len(part)
                tell(done / total, "write")
        for address, pattern in words.items():
            for at, part in _chunks(pattern ^ np.uint32(invert)):
                found = link.read(Space.ROW, address + at, len(part))
                differs = np.flatnonzero(found != part)
                if differs.size:
                    word = int(differs[0])
                    row, core = divmod((address + at + word) // (c.lanes // 4), c.cores)
                    return Check("row memory", "", f"row {row} of core {core}, link word "
                                 f"{address + at + word}: expected 0x{part[word]:08x}, got "
                                 f"0x{found[word]:08x}")
                done += len(part)
                tell(done / total, "read")
    count = sum(map(len, parts))
    return Check("row memory", f"{count:,} of {c.row_depth:,} rows of {c.cores} x {c.lanes} bytes")


def check_external(board: Transport, c: Configuration, seed: int) -> Check:
    """Checks that external memory keeps random words, and then their complements.

    They lie in blocks at both ends and at every power of two, all at the same time. So every
    address line and every data line is used with both values.
    """
    link, random = PacketLink(board), np.random.default_rng(seed)
    bits = range(_BLOCK.bit_length() - 1, (c.external_words - 1).bit_length())
    starts = sorted({0, *(1 << bit for bit in bits), c.external_words - _BLOCK})
    starts = [at for at in starts if at + _BLOCK <= c.external_words]
    blocks = {at: random.integers(0, 1 << 32, _BLOCK, np.uint32) for at in starts}
    for invert in (0, 0xFFFFFFFF):
        for at, words in blocks.items():
            link.write(Space.EXTERNAL, at, words ^ np.uint32(invert))
        for at, words in blocks.items():
            found = link.read(Space.EXTERNAL, at, _BLOCK)
            differs = np.flatnonzero(found != words ^ np.uint32(invert))
            if differs.size:
                word = int(differs[0])
                return Check("external memory", "", f"word {at + word}: expected "
                             f"0x{words[word] ^ np.uint32(invert):08x}, got 0x{found[word]:08x}")
    return Check("external memory", f"{len(starts)} blocks of {_BLOCK} among "
                                    f"{c.external_words:,} words")


def _chunks(words: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Parts of at most _CHUNK words, each with its first index."""
    for at in range(0, len(words), _CHUNK):
        yield at, words[at : at + _CHUNK]


class UnitChecks:
    """Checks the instructions of an image, one after the other, on a device and the golden device.

    Args:
        board: the device; the image is loaded into it.
        image: of a model with resident weights.
        c: the configuration of the image and of the device.
        seed: of the prompt.
    """

    def __init__(self, board: Transport, image: Image, c: Configuration, seed: int) -> None:
        self._image, self._c = image, c
        golden = GoldenTransport(c)
        self.golden: GoldenDevice = golden.device
        self.drivers = Driver(golden, image), Driver(board, image)
        self._links = PacketLink(golden), PacketLink(board)
        vocab = image.model["vocab"]
        self.prompt = np.random.default_rng(seed).integers(0, vocab, PROMPT).tolist()
        section = next(s for s in image.sections if s.space is Space.PROGRAM)
        words = section.words.reshape(-1, INSTRUCTION_LINK_WORDS)
        self._program = [sum(int(w) << 32 * i for i, w in enumerate(row)) for row in words]

    def run(self, tell: Tell) -> Iterator[Check]:
        """The checks, one for each operation, in the order in which the program first has them.

        Ends at the first difference.
        """
        counts: dict[str, int] = {}
        start = 0
        cuts = list(self._cuts())
        for number, cut in enumerate(cuts):
            tell(number / len(cuts), f"program {number + 1}/{len(cuts)}")
            names = sorted({self._unit(pc) for pc in range(start, cut)} - {""})
            difference = self._cut(cut, range(start, cut))
            if difference is not None:
                yield Check(" and ".join(names), "", difference)
                return
            for name in names:
                counts[name] = counts.get(name, 0) + 1
            start = cut
        for name, count in counts.items():
            more = "s" if count > 1 else ""
            yield Check(name, f"{count} instruction{more}, each the last of a program")

    def _cuts(self) -> Iterator[int]:
        """The addresses at which a program may be cut: every FIRE before them has its POST."""
        open_fires = 0
        for pc, word in enumerate(self._program):
            opcode = Opcode(word & 0xF)
            open_fires += (opcode is Opcode.FIRE) - (opcode is Opcode.POST)
            if opcode is Opcode.END:
                return
            if open_fires == 0 and opcode is not Opcode.HEAD:
                yield pc + 1

    def _unit(self, pc: int) -> str:
        """The operation at an address, as the checks name it; "" for one that computes nothing."""
        word = self._program[pc]
        opcode = Opcode(word & 0xF)
        if opcode is Opcode.VECTOR:
            operation = Operation(RECORDS[opcode].unpack(word)["operation"])
            return f"vector unit: {operation.name.lower().replace('_', ' ')}"
        return "fire and post" if opcode in (Opcode.FIRE, Opcode.POST) else ""

    def _cut(self, cut: int, news: range) -> str | None:
        """Runs the program up to `cut` on both devices.

        Returns the first difference in what the instructions `news` have written, in words, or
        None. The program is whole again afterwards.
        """
        before = self.golden.memories.rows.copy()
        self.golden.trace = []
        end = np.zeros(INSTRUCTION_LINK_WORDS, np.uint32)
        again = [self._program[cut] >> 32 * i & 0xFFFFFFFF for i in range(INSTRUCTION_LINK_WORDS)]
        for link in self._links:
            address = cut * INSTRUCTION_LINK_WORDS
            link.write(Space.PROGRAM, address, end)
            link.send(packet(Kind.RUN, flags=RunFlag.RESET, value=1,
                             payload=np.array(self.prompt)))
            link.expect(Kind.TOKEN)
            link.expect(Kind.DONE)
            link.write(Space.PROGRAM, address, np.array(again, np.uint32))
        trace, self.golden.trace = self.golden.trace, None
        for write in trace:
            if write.pc in news and write.position == PROMPT - 1:
                found = self._vector(write) if write.unit != "key_value" else None
                if found is not None:
                    return found
        return self._rows(before, news)

    def _label(self, pc: int) -> str:
        return self._image.model["labels"][pc]

    def _vector(self, write: Write) -> str | None:
        """The first difference in a vector that golden has written, in words, or None."""
        v = self._c.vector_lanes
        found = self._links[1].read(Space.VECTOR, write.address * v, write.data.size)
        found = found.astype(np.int32)
        differs = np.flatnonzero(found != write.data)
        if not differs.size:
            return None
        at = int(differs[0])
        return (f"{self._label(write.pc)}, position {write.position}, element {at}: expected "
                f"{write.data[at]}, got {found[at]}")

    def _rows(self, before: np.ndarray, news: range) -> str | None:
        """The first difference in keys and values, in words, or None.

        Compared are the bytes of row memory that the golden device has changed since `before`.
        """
        rows = self.golden.memories.rows
        changed = np.flatnonzero(rows != before)
        if not changed.size:
            return None
        first, last = int(changed[0]) // 4, int(changed[-1]) // 4
        found = np.concatenate([self._links[1].read(Space.ROW, first + at, len(part))
                                for at, part in _chunks(np.zeros(last - first + 1))])
        got = found.view(np.int8)[changed - 4 * first]
        expected = rows.reshape(-1)[changed]
        differs = np.flatnonzero(got != expected)
        if not differs.size:
            return None
        at = int(differs[0])
        row, core, lane = np.unravel_index(int(changed[at]), rows.shape)
        return (f"{self._label(news[-1])}, row {row} of core {core}, lane {lane}: expected "
                f"{expected[at]}, got {got[at]}")


def check_generation(golden: Driver, board: Driver, prompt: list[int], count: int) -> Check:
    """Compares the tokens, the logits after the prompt, and all counters but those of time."""
    expected, got = golden.generate(prompt, count), board.generate(prompt, count)
    amount = f"{len(expected.tokens)} tokens after a prompt of {len(prompt)}"

    def differs(text: str) -> Check:
        return Check("generation", "", text)

    for at, (wanted, found) in enumerate(zip(expected.tokens, got.tokens, strict=False)):
        if wanted != found:
            return differs(f"token {at}: expected {wanted}, got {found}")
    if (len(expected.tokens), expected.stop) != (len(got.tokens), got.stop):
        return differs(f"expected {len(expected.tokens)} tokens and {expected.stop.name}, got "
                       f"{len(got.tokens)} and {got.stop.name}")
    for name in _UNTIMED:
        if expected.counters[name] != got.counters[name]:
            return differs(f"counter {name}: expected {expected.counters[name]}, got "
                           f"{got.counters[name]}")
    wanted, found = golden.logits(prompt), board.logits(prompt)
    unequal = np.flatnonzero(wanted != found)
    if unequal.size:
        at = int(unequal[0])
        return differs(f"logit {at} after the prompt: expected {wanted[at]}, got {found[at]}")
    return Check("generation", amount)
