"""POST instructions at random, what golden says of them, and the memories around the unit."""

from dataclasses import dataclass, field
from random import Random

import numpy as np

from golden.units.fixed import magnitude
from golden.units.post import post
from isa.configurations import Configuration
from isa.formats import UNITY_MANTISSA
from isa.instructions import POST, Opcode, Scale

VECTOR_WORDS = 256  # of the bench's vector memory
RING_BASE, RING_MASK = 64, 63
PARAMETER_WORDS = 512  # of which those from RING_BASE to RING_BASE + RING_MASK are the ring
EXPONENT_WORDS = 256
SCALARS = 16


@dataclass
class Case:
    """One instruction, its tiles, and what must come of it."""

    fields: dict[str, int]
    count: int
    tiles: list[dict[str, int]]
    sums: list[np.ndarray]  # (P,) each
    writes: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)
    magnitudes: list[tuple[int, int, int]] = field(default_factory=list)  # register, value, join
    maxima: list[tuple[int, int]] = field(default_factory=list)
    token: int | None = None
    logits: list[int] = field(default_factory=list)
    saturations: int = 0

    @property
    def word(self) -> int:
        return POST.pack(**self.fields)


class World:
    """The memories that POST reads, as the program's order leaves them."""

    def __init__(self, c: Configuration, rng: Random, position: int, send_logits: bool) -> None:
        self.c, self.rng = c, rng
        self.position, self.send_logits = position, send_logits
        v = c.vector_lanes
        self.parameters = [self._words16() for _ in range(PARAMETER_WORDS)]
        self.exponents = [
            tuple(rng.choice((rng.randint(-7, 17), rng.randint(-128, 127))) for _ in range(v))
            for _ in range(EXPONENT_WORDS)
        ]
        self.vector = [
            tuple(rng.randint(-(2**23) + 1, 2**23 - 1) >> rng.choice((0, 0, 10)) for _ in range(v))
            for _ in range(VECTOR_WORDS)
        ]
        self.initial_vector = list(self.vector)
        self.scalars = [
            (rng.randint(128, 255), rng.choice((rng.randint(-40, 10), rng.randint(-512, 511))))
            for _ in range(SCALARS)
        ]
        self.streamed: list[tuple[int, ...]] = []  # parameter words in the order of the ring

    def _words16(self) -> tuple[int, ...]:
        rng = self.rng
        return tuple(
            rng.randrange(256) | rng.choice((rng.randint(0, 12), rng.randrange(64))) << 8
            for _ in range(self.c.vector_lanes)
        )

    def random_case(self, **forced: int) -> Case:
        """An instruction with operands; `forced` fixes fields. Updates the memories."""
        rng, c = self.rng, self.c

        def flag(p: float = 0.5) -> int:
            return int(rng.random() < p)

        f = {
            "opcode": int(Opcode.POST),
            "wait_fire": rng.randrange(4096), "wait_vector": rng.randrange(4096),
            "count": rng.choice((1, rng.randint(1, 3 * c.lanes), rng.randint(1, c.lanes))),
            "dynamic_count": flag(0.2),
            "lane_offset": rng.choice((0, rng.randrange(c.lanes // c.vector_lanes))),
            "use_parameters": flag(), "stream": flag(),
            "gain": rng.randrange(256), "drop": rng.choice((rng.randint(0, 9), rng.randrange(64))),
            "scale": rng.choice((Scale.UNITY, Scale.NORM, Scale.SCALAR)),
            "scalar": rng.randrange(SCALARS),
            "shift": rng.choice((rng.randint(-12, 24), rng.randint(-12, 24),
                                 rng.randint(-512, 511))),
            "use_exponent": flag(), "key_exponents": flag(0.3),
            "to_vector": flag(0.8), "to_host": flag(0.3), "argmax": flag(),
            "use_residual": flag(), "use_maximum": flag(),
            "destination": rng.randrange(VECTOR_WORDS // 4),
            "magnitude": rng.randrange(64), "segment": rng.choice((0, 1, 2, 3, 5)),
            "maximum": rng.randrange(16),
        }  # fmt: skip
        f["use_bias"], f["join_magnitude"] = flag(), flag()
        f.update(forced)
        f["scale"] = int(f["scale"])
        f["parameters"] = f.get("parameters", rng.randrange(128, 200))
        f["exponent_address"] = f.get("exponent_address", rng.randrange(EXPONENT_WORDS // 8))
        # In place, or from where nothing is written.
        f["residual"] = f.get(
            "residual", rng.choice((f["destination"], rng.randrange(160, VECTOR_WORDS // 4 + 130)))
        )
        return self._complete(f)

    def _complete(self, f: dict[str, int]) -> Case:
        rng, c = self.rng, self.c
        v = c.vector_lanes
        count = self.position + 1 if f["dynamic_count"] else f["count"]
        a_tile = c.lanes - f["lane_offset"] * v
        tiles, sums = [], []
        size = rng.choice((2, 6, 12, c.accumulator_bits - 1))
        for _ in range(-(-count // a_tile)):
            tiles.append(
                {
                    "exponent": rng.choice((rng.randint(-7, 17), rng.randint(-128, 127))),
                    "norm_mantissa": rng.randint(128, 255),
                    "norm_exponent": rng.choice((rng.randint(-24, 6), rng.randint(-512, 511))),
                    "rows": rng.randrange(1 << 16),
                }
            )
            sums.append(np.array([rng.randint(-(1 << size), (1 << size) - 1)
                                  for _ in range(c.lanes)]))
        case = Case(f, count, tiles, sums)
        self._expect(case, a_tile)
        return case

    def _expect(self, case: Case, a_tile: int) -> None:
        f, v, count = case.fields, self.c.vector_lanes, case.count
        words = -(-count // v)
        gain, drop, bias = self._parameters(f, words)
        shift = np.full(count, f["shift"])
        mantissa = np.full(count, UNITY_MANTISSA)
        of_tile = np.arange(count) // a_tile
        if f["use_exponent"]:
            shift = shift - np.array([t["exponent"] for t in case.tiles])[of_tile]
        if f["scale"] == Scale.NORM:
            shift = shift - np.array([t["norm_exponent"] for t in case.tiles])[of_tile]
            mantissa = np.array([t["norm_mantissa"] for t in case.tiles])[of_tile]
        elif f["scale"] == Scale.SCALAR:
            mantissa[:] = self.scalars[f["scalar"]][0]
            shift = shift - self.scalars[f["scalar"]][1]
        if f["key_exponents"]:
            at = f["exponent_address"]
            shift = shift - np.array(self.exponents[at : at + words]).reshape(-1)[:count]
        residual = None
        if f["use_residual"]:
            at = f["residual"]
            residual = np.array(self.vector[at : at + words]).reshape(-1)[:count]
        accumulators = np.concatenate([s[-a_tile:] for s in case.sums])[:count]
        y, case.saturations = post(
            accumulators, gain[:count], drop[:count], mantissa, shift,
            bias[:count] if bias is not None else None, residual,
        )  # fmt: skip
        padded = np.concatenate([y, np.zeros(words * v - count, dtype=np.int64)]).reshape(-1, v)
        if f["to_vector"]:
            for k, row in enumerate(padded.tolist()):
                case.writes.append((f["destination"] + k, tuple(row)))
                self.vector[f["destination"] + k] = tuple(row)
            segment = f["segment"] or words
            for k in range(0, words, segment):
                register = f["magnitude"] + k // segment
                value = magnitude(padded[k : k + segment].ravel())
                case.magnitudes.append((register, value, f["join_magnitude"]))
        if f["use_maximum"]:
            case.maxima.append((f["maximum"], int(y.max())))
        if f["argmax"]:
            case.token = int(y.argmax())
        if f["to_host"] and self.send_logits:
            case.logits = y.tolist()

    def _parameters(self, f: dict[str, int], words: int):
        v = self.c.vector_lanes
        if not f["use_parameters"]:
            return np.full(words * v, f["gain"]), np.full(words * v, f["drop"]), None
        step = 3 if f["use_bias"] else 1
        if f["stream"]:
            rows = [self._words16() for _ in range(step * words)]
            self.streamed += rows
        else:
            rows = self.parameters[f["parameters"] : f["parameters"] + step * words]
        table = np.array(rows).reshape(words, step, v)
        bias = None
        if f["use_bias"]:
            bias = (table[:, 1] | (table[:, 2] & 0xFF) << 16).reshape(-1)
            bias = np.where(bias >> 23, bias - (1 << 24), bias)
        gains = table[:, 0].reshape(-1)
        return gains & 255, gains >> 8 & 63, bias
