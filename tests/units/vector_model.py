"""What VECTOR instructions do, from golden's integer steps: every write that a unit must make."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from golden.units.attention import gate, modulate, rotate, softmax
from golden.units.fixed import code_exponent, encode, magnitude
from golden.units.functions import Tables, silu
from isa.configurations import Configuration
from isa.formats import SILU_FRACTION
from isa.instructions import VECTOR as INSTRUCTION
from isa.instructions import Operation

REGISTERS = 64  # of magnitudes that tests name; the unit does not know how many there are


@dataclass
class Effects:
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
        self.c, self.tables = c, tables
        self.memory = np.zeros((c.vector_depth, c.vector_lanes), dtype=np.int64)
        self.rotation = np.zeros((c.rotation_depth, c.vector_lanes), dtype=np.int64)
        self.exponents = np.zeros((c.exponent_depth, c.vector_lanes), dtype=np.int64)  # of values
        self.magnitudes = [0] * REGISTERS
        self.maxima = [0] * c.maxima
        self.alignments = [0] * c.alignments
        self.position = self.rotation_base = self.key_row_offset = 0
        self.settings = {"silu_widen": 0, "product_shift": 12, "exponent_stride": 1}

    def read(self, address: int, words: int) -> np.ndarray:
        return self.memory[address : address + words].reshape(-1)

    def execute(self, fields: dict) -> Effects:
        """Runs an instruction (its fields by name) on the state and returns what it wrote."""
        done = Effects()
        fields = INSTRUCTION.unpack(INSTRUCTION.pack(**fields))
        name = Operation(fields["operation"]).name.lower()
        getattr(self, f"_{name}")(done, fields)
        done.vector = [(a, tuple(int(v) for v in lanes)) for a, lanes in done.vector]
        return done

    def _heads(self, f: dict) -> list[tuple[int, int]]:
        """(first word, words) of every segment."""
        size = f["segment"] or max(f["count"], 1)
        return [(w, min(size, f["count"] - w)) for w in range(0, f["count"], size)]

    def _write(self, done: Effects, f: dict, at: int, values: np.ndarray, register: int) -> None:
        words = values.reshape(-1, self.c.vector_lanes)
        first = f["destination"] + at
        self.memory[first : first + len(words)] = words
        done.vector += [(first + i, word) for i, word in enumerate(words)]
        self.magnitudes[register] = magnitude(values)
        done.magnitudes.append((register, self.magnitudes[register]))

    def _rotate(self, done: Effects, f: dict) -> None:
        for h, (at, words) in enumerate(self._heads(f)):
            turn = self.rotation[self.rotation_base : self.rotation_base + words].reshape(-1)
            result, clipped = rotate(self.read(f["source"] + at, words), turn[0::2], turn[1::2])
            self._write(done, f, at, result, f["magnitude_out"] + h)
            done.saturations += clipped

    def _silu(self, done: Effects, f: dict) -> None:
        fraction = SILU_FRACTION - self.settings["silu_widen"]
        for h, (at, words) in enumerate(self._heads(f)):
            result = silu(self.read(f["source"] + at, words), fraction, self.tables)
            self._write(done, f, at, result, f["magnitude_out"] + h)

    def _modulate(self, done: Effects, f: dict) -> None:
        for h, (at, words) in enumerate(self._heads(f)):
            exponent = code_exponent(self.magnitudes[f["magnitude_in"] + h])
            result, clipped = modulate(
                self.read(f["source"] + at, words), exponent,
                self.read(f["operand"] + at, words), self.settings["product_shift"],
            )  # fmt: skip
            self._write(done, f, at, result, f["magnitude_out"] + h)
            done.saturations += clipped

    def _softmax(self, done: Effects, f: dict) -> None:
        self._weights(done, f, softmax)

    def _gate(self, done: Effects, f: dict) -> None:
        self._weights(done, f, gate)

    def _weights(self, done: Effects, f: dict, unit: Callable) -> None:
        lanes, elements = self.c.vector_lanes, self.position + 1
        words = -(-elements // lanes)
        exponents = self.exponents[f["exponent_address"] : f["exponent_address"] + words]
        scores = self.read(f["source"], words)[:elements]
        if unit is softmax:
            assert self.maxima[f["maximum"]] == scores.max()
        aligned, mantissa, exponent = unit(
            scores, exponents.reshape(-1)[:elements], self.alignments[f["alignment"]], self.tables
        )
        padded = np.zeros(words * lanes, dtype=np.int64)
        padded[:elements] = aligned
        self._write(done, f, 0, padded, f["magnitude_out"])
        done.scalars.append((f["scalar"], mantissa, exponent))

    def _encoded(self, done: Effects, f: dict, memory: list) -> np.ndarray:
        """Codes of all heads in a row; exponents go to `memory`."""
        lanes, codes = self.c.vector_lanes, []
        for h, (at, words) in enumerate(self._heads(f)):
            exponent = code_exponent(self.magnitudes[f["magnitude_in"] + h])
            head = encode(self.read(f["source"] + at, words), exponent)
            address = f["exponent_address"] + h * self.settings["exponent_stride"]
            memory.append((address + self.position // lanes, self.position % lanes, exponent))
            done.trace += [
                (tuple(int(v) for v in word), exponent) for word in head.reshape(-1, lanes)
            ]
            codes.append(head)
        return np.concatenate(codes) if codes else np.zeros(0, dtype=np.int64)

    def _store_key(self, done: Effects, f: dict) -> None:
        c = self.c
        codes = self._encoded(done, f, done.key_exponents)
        row = f["row_base"] + self.key_row_offset
        for i, code in enumerate(codes):
            done.rows[i % c.cores, row + i // c.cores, self.position % c.lanes] = int(code)
        done.row_writes = len(codes) // c.cores

    def _store_value(self, done: Effects, f: dict) -> None:
        c = self.c
        codes = self._encoded(done, f, done.value_exponents)
        for h, (address, lane, exponent) in enumerate(done.value_exponents):
            self.exponents[address, lane] = exponent
            register = f["alignment"] + h
            if self.position == 0 or exponent > self.alignments[register]:
                self.alignments[register] = exponent
        row = f["row_base"] + self.position // c.cores
        for i, code in enumerate(codes):
            r, lane = divmod(f["operand"] * c.vector_lanes + i, c.lanes)
            key = (self.position % c.cores, row + r * f["row_stride"], lane)
            done.rows[key] = int(code)
        done.row_writes = f["count"]
