"""VectorUnit against golden: random instructions of every operation, stalls, extreme values."""

import random

import cocotb
import numpy as np
import pytest

from golden.units.fixed import magnitude
from golden.units.functions import default_tables
from hdl.units.vector.vector import VectorUnit
from isa.configurations import configuration
from isa.formats import TRIGONOMETRIC, VECTOR
from isa.instructions import Operation
from tests.cocotb_support import generator, parameters, run_cocotb, start
from tests.units.bench_vector import Bench
from tests.units.tables import load_tables, random_tables
from tests.units.vector_model import VectorModel

PROGRAMS = 60
LONGEST = 24  # words of a vector


@pytest.mark.parametrize("name", ["tiny", "small", "minimal", "ulx3s"])
def test_vector(name):
    run_cocotb(
        VectorUnit(configuration(name)), __name__, f"vector_{name}", {"configuration": name}
    )


class Programs:
    """Random state for the model and random programs of one to four instructions."""

    def __init__(self, rng: random.Random, model: VectorModel):
        self.rng, self.model, self.c = rng, model, model.c

    def vector(self, elements: int) -> np.ndarray:
        """Elements of one random size, some of them at the edge of it; now and then all zero."""
        bits = self.rng.choice([0, 1, 4, 7, 8, 12, 16, 20, 23, 23])
        top = min((1 << bits) - 1, VECTOR.maximum)
        some = [self.rng.randint(-top, top) for _ in range(elements)]
        return np.array([self.rng.choice((v, v, v, top, -top, 0)) for v in some], dtype=np.int64)

    def region(self, words: int, avoid: tuple = (), depth: int = 0) -> int:
        """A place for `words` words that does not touch the ones in `avoid`."""
        depth = min(depth or self.c.vector_depth, self.c.vector_depth)
        while True:
            at = self.rng.randrange(depth - words + 1)
            if all(at + words <= a or at >= a + n for a, n in avoid):
                return at

    def prepare(self) -> None:
        """Another position, other settings and rotations."""
        rng, model, c = self.rng, self.model, self.c
        model.position = rng.choice([0, 1, rng.randrange(c.context), rng.randrange(c.context)])
        most = (c.rotation_depth - LONGEST) // max(1, model.position)
        model.settings = {
            "rotation_stride": rng.randrange(1 + min(most, 255)),
            "key_stride": rng.randrange(1 << 10),
            "silu_widen": rng.randrange(12),
            "product_shift": rng.choice([0, 4, 8, 12, 12, 30, 63]),
            "exponent_stride": rng.randrange(1, 4),
        }
        top = rng.choice([1024, TRIGONOMETRIC.maximum])
        turns = [rng.choice((rng.randint(-top, top), top, -top)) for _ in range(16 * 64)]
        model.rotation[:] = np.resize(np.array(turns), model.rotation.shape)

    def source(self, count: int, segment: int, register: int) -> int:
        """A new vector in memory with its magnitudes; its first word."""
        lanes, at = self.c.vector_lanes, self.region(count)
        size = segment or max(count, 1)
        for h, w in enumerate(range(0, count, size)):
            words = min(size, count - w)
            values = self.vector(words * lanes)
            self.model.memory[at + w : at + w + words] = values.reshape(-1, lanes)
            self.model.magnitudes[register + h] = magnitude(values)
        return at

    def first_values(self) -> dict:
        """A value store at position 0 that sets every alignment register."""
        count = self.c.alignments
        source = self.source(count, 1, 0)
        return {
            "operation": Operation.STORE_VALUE, "count": count, "segment": 1, "source": source,
            "row_stride": 1,
        }

    def program(self) -> list[dict]:
        """One to four instructions for the unit, and what they read in the model's state."""
        rng, model, c = self.rng, self.model, self.c
        segment = rng.choice([0, 0, 1, 2, 4])
        count = rng.randrange(1, LONGEST + 1) if segment == 0 else segment * rng.randrange(1, 7)
        if rng.random() < 0.05:
            count = 0
        common = {"count": count, "segment": segment}
        into = 32 + rng.randrange(16)
        base = {
            **common, "magnitude_in": rng.randrange(24), "magnitude_out": into,
            "exponent_address": rng.randrange(c.exponent_depth // 2),
            "row_base": rng.randrange(1 << 18), "row_stride": rng.randrange(1, 1 << 9),
            "alignment": rng.randrange(c.alignments - 8),
        }  # fmt: skip
        base["source"] = at = self.source(count, segment, base["magnitude_in"])
        operand = self.region(count, ((at, count),))
        operand_words = [self.vector(c.vector_lanes) for _ in range(count)]
        if count:
            model.memory[operand : operand + count] = operand_words
        target = rng.choice([at, self.region(count, ((at, count), (operand, count)))])
        base["destination"] = target
        base["operand"] = operand
        base["segment"] = segment
        store_value = {**base, "operand": rng.randrange(c.lanes // c.vector_lanes)}
        if c.exponent_depth // 2 + 24 * 3 + c.context // c.vector_lanes > c.exponent_depth:
            store_value["exponent_address"] = base["exponent_address"] = 0
            model.settings["exponent_stride"] = 1
        kind = rng.choice(["one", "one", "key", "silu", "weights", "weights", "values"])
        if kind == "key":  # rotate, then store what was rotated
            read_back = {"source": target, "magnitude_in": into}
            return [
                {**base, "operation": Operation.ROTATE},
                {**base, **read_back, "operation": Operation.STORE_KEY},
                {**store_value, **read_back, "operation": Operation.STORE_VALUE},
            ]
        if kind == "silu":  # SiLU, then gate x up
            read_back = {"source": target, "magnitude_in": into, "magnitude_out": 56}
            return [
                {**base, "operation": Operation.SILU},
                {**base, **read_back, "operation": Operation.MODULATE},
            ]
        if kind == "weights":
            words = model.position // c.vector_lanes + 1
            number = rng.randrange(1, 1 + max(1, min(3, c.exponent_depth // (2 * words))))
            places: list[tuple[int, int]] = []
            while len(places) < number:
                places.append((self.region(words, tuple(places), c.exponent_depth), words))
            maxima = rng.sample(range(c.maxima), number)
            return [self.weights(base, *both) for both in zip(places, maxima, strict=True)]
        weights = (Operation.SOFTMAX, Operation.GATE)
        operation = rng.choice([o for o in Operation if o not in weights])
        if kind == "values":
            operation = Operation.STORE_VALUE
        fields = store_value if operation == Operation.STORE_VALUE else base
        return [{**fields, "operation": operation}]

    def weights(self, base: dict, region: tuple[int, int], register: int) -> dict:
        """Softmax or gate in place: `region` of exponent memory, the same of vector memory."""
        rng, model, lanes = self.rng, self.model, self.c.vector_lanes
        at, words = region
        near = rng.choice([1, 100, 3000, 20000, VECTOR.maximum])
        top = rng.randint(-VECTOR.maximum + near, VECTOR.maximum)
        scores = np.array([top - rng.randint(0, near) for _ in range(words * lanes)])
        model.memory[at : at + words] = scores.reshape(-1, lanes)
        operation = rng.choice([Operation.SOFTMAX, Operation.GATE])
        if operation == Operation.GATE:  # of either sign, and the extremes; it needs no maximum
            top = rng.choice([0, 1, 100, 5000, VECTOR.maximum])
            scores = np.clip(scores - scores.max() + rng.randint(0, near), -top, top)
            scores = np.where(rng.random() < 0.1, -abs(scores), scores)
            model.memory[at : at + words] = scores.reshape(-1, lanes)
            model.maxima[register] = rng.randint(-VECTOR.maximum, VECTOR.maximum)
        else:
            model.maxima[register] = int(scores[: model.position + 1].max())
        alignment = model.alignments[base["alignment"]]
        low = alignment - rng.choice([0, 3, 40])
        model.exponents[at : at + words] = np.array(
            [rng.randint(low, alignment) for _ in range(words * lanes)]
        ).reshape(-1, lanes)
        return {
            "operation": operation, "source": at, "destination": at, "maximum": register,
            "scalar": rng.randrange(16), "exponent_address": at, "segment": rng.randrange(3),
            "alignment": base["alignment"], "magnitude_out": base["magnitude_out"],
            "count": rng.randrange(100),
        }  # fmt: skip


async def run_programs(
    dut, tables, stall: float, idle: float, count: int = PROGRAMS
) -> Bench:
    """Runs `count` random programs, or more until every operation was among them, and compares
    every write; returns the bench."""
    c = configuration(parameters()["configuration"])
    rng = generator(f"vector {c.name} {stall}")
    await start(dut)
    await load_tables(dut, tables)
    model = VectorModel(c, tables)
    programs = Programs(rng, model)
    first = programs.first_values()
    bench = Bench(dut, model, stall, idle)
    await bench.run([first])
    done = 0
    while done < count or {operation for operation, _, _ in bench.durations} != set(Operation):
        done += 1
        programs.prepare()
        program = programs.program()
        bench.settle()
        await bench.run(program)
    bench.stop()
    return bench


@cocotb.test()
async def vector_at_full_speed(dut):
    await run_programs(dut, default_tables(), 0.0, 0.0)


@cocotb.test()
async def vector_with_stalls(dut):
    for stall, idle in ((0.3, 0.5), (0.8, 0.0)):
        await run_programs(dut, default_tables(), stall, idle)


@cocotb.test()
async def vector_with_other_tables(dut):
    rng = np.random.default_rng(generator("tables").getrandbits(32))
    await run_programs(dut, random_tables(rng), 0.1, 0.1)
