"""What all instructions of the golden device have in common: where it is, and how they store."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from golden.device.accesses import Accesses
from golden.device.memories import Memories
from golden.units import fixed
from isa.access import Resource

Fields = dict[str, int]


@dataclass
class Write:
    """What one instruction writes, as the hardware traces it word by word."""

    unit: str  # "post", "vector", or "key_value" for codes stored in the cache
    pc: int
    address: int  # vector memory word of the first element; 0 for key_value
    data: np.ndarray  # whole words
    position: int
    exponents: np.ndarray | None = None  # of each word of codes


class Machine:
    """Position and token of the run, the memories through `at`, and a trace.

    pc: of the instruction that is executed. trace: when not None, collects every vector that is
    written, and the codes of every key and value.
    """

    def __init__(self, memories: Memories, checked: bool) -> None:
        self.m, self.c = memories, memories.c
        self.at = Accesses(memories, checked)
        self.trace: list[Write] | None = None
        self.pc = self.position = self.token = self.next_token = 0

    def count(self, name: str, amount: int) -> None:
        """Adds to a counter."""
        self.m.counters[name] += int(amount)

    def words(self, elements: int) -> int:
        """Vector memory words of so many elements."""
        return -(-elements // self.c.vector_lanes)

    def elements(self, word: int, count: int) -> np.ndarray:
        """`count` elements of vector memory from a word on."""
        return self.at.read(Resource.VECTOR, word, self.words(count)).reshape(-1)[:count]

    def segments(self, f: Fields) -> Iterator[tuple[int, slice]]:
        """(number, its elements) of every segment of a VECTOR instruction's vector: heads, each
        with a magnitude register of its own, or one for all of it. The last may be shorter."""
        size = f["segment"] or f["count"]
        lanes = self.c.vector_lanes
        for n, word in enumerate(range(0, f["count"], size or 1)):
            yield n, slice(word * lanes, min(word + size, f["count"]) * lanes)

    def exponent(self, register: int) -> int:
        """The exponent of the spike codes of the vector that a magnitude register describes."""
        return fixed.code_exponent(int(self.at.read(Resource.MAGNITUDE, register)[0]))

    def store(self, unit: str, address: int, values: np.ndarray) -> None:
        """A vector into vector memory, filled up to whole words with 0."""
        lanes = self.c.vector_lanes
        words = np.zeros((self.words(len(values)), lanes), dtype=np.int64)
        words.reshape(-1)[: len(values)] = values
        self.at.write(Resource.VECTOR, address, words)
        if self.trace is not None:
            self.trace.append(Write(unit, self.pc, address, words.reshape(-1), self.position))

    def store_magnitudes(
        self, register: int, segment: int, values: np.ndarray, join: bool = False
    ) -> None:
        """The magnitude of each segment of `segment` words into registers from `register` on.

        0: one for all. join: OR into what is there.
        """
        size = segment * self.c.vector_lanes or max(len(values), 1)
        new = [fixed.magnitude(values[at : at + size]) for at in range(0, len(values), size)]
        if join:
            new = np.asarray(new) | self.at.read(Resource.MAGNITUDE, register, len(new))
        self.at.write(Resource.MAGNITUDE, register, new)
