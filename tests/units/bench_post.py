"""POST instructions at random, what golden says of them, and the memories around the unit."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from random import Random

import numpy as np

from golden.device.execute import Executor, Tile
from golden.device.memories import Memories
from isa.access import Resource
from isa.configurations import Configuration
from isa.instructions import POST, Opcode, Scale
from isa.packets import Space
from isa.registers import REGISTERS

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
        self._load()

    def _load(self) -> None:
        """The same contents in the golden device's memories, as deep as the bench's."""
        self._memories = m = Memories(replace(
            self.c, vector_depth=VECTOR_WORDS, parameter_depth=PARAMETER_WORDS, magnitudes=128,
            exponent_depth=EXPONENT_WORDS, scalars=SCALARS,
        ))  # fmt: skip
        m.parameters[:], m.scalars[:] = self.parameters, self.scalars
        m.resources[Resource.KEY_EXPONENT][:] = self.exponents
        m.resources[Resource.VECTOR][:] = self.vector
        for name, value in (("parameter_ring_base", RING_BASE), ("parameter_ring_mask", RING_MASK)):
            m.write(Space.REGISTER, REGISTERS[name].address, np.array([value], dtype=np.uint32))
        self._executor = Executor(m, self._take, self._logits, checked=True)
        self._executor.at.log = []
        self._executor.position = self.position

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
        self._expect(case)
        return case

    def _expect(self, case: Case) -> None:
        """Executes the case on the golden device's memories; what it wrote must come of it."""
        x, m, f = self._executor, self._memories, case.fields
        m.magnitudes[:] = 0  # what joins a register is seen alone
        m.counters["saturations"] = 0
        x.tiles = [Tile(sums, tile["exponent"], (tile["norm_mantissa"], tile["norm_exponent"]))
                   for tile, sums in zip(case.tiles, case.sums, strict=True)]
        x.at.log.clear()
        self._case = case
        assert not list(x.execute(0, POST.unpack(case.word))) and not x.tiles
        for stored in x.at.log:
            values = list(enumerate(stored.values.tolist(), stored.first))
            if stored.resource is Resource.VECTOR:
                case.writes += [(at, tuple(word)) for at, word in values]
                self.vector[stored.first : stored.first + len(values)] = [w for _, w in case.writes]
            elif stored.resource is Resource.MAGNITUDE:
                case.magnitudes += [(at, value, f["join_magnitude"]) for at, value in values]
            else:
                assert stored.resource is Resource.MAXIMUM
                case.maxima += values
        case.token = x.next_token if f["argmax"] else None
        case.saturations = m.counters["saturations"]

    def _logits(self, logits: np.ndarray) -> None:
        if self.send_logits:
            self._case.logits = logits.tolist()

    def _take(self, space: Space, words: int) -> Iterator[None]:
        """New words into the ring, from its first on: only their values matter to the result."""
        assert space is Space.PARAMETER
        rows = [self._words16() for _ in range(words)]
        self.streamed += rows
        self._memories.parameters[RING_BASE : RING_BASE + words] = rows
        yield from ()
        return RING_BASE
