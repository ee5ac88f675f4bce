"""The table of docs/functions.md: every function neuron's fit and what it is off."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from golden.function_fits import lines, staircase
from golden.function_fits.partitions import logarithmic, power_law, uniform
from golden.function_fits.staircase import Function
from golden.units import functions
from isa.formats import (
    EXP2_CLAMP,
    EXP2_FRACTION,
    EXP2_PIECES,
    RECIPROCAL_ENTRIES,
    RSQRT_ENTRIES,
    SCORE_FRACTION,
    SILU_FRACTION,
)

PATH = Path(__file__).resolve().parents[2] / "docs" / "functions.md"
RELEASED_VECTORS = "vectors/braintransformers.npz"
POINTS = 10_001          # in which fits on real numbers are compared with their function
PIECES, STEPS = 64, 4    # of the paper's approximators: 256 steps in all
RELEASED_STEPS = 90      # of the released SiLU: 3 neurons of 10 steps, 3 of 20
RELEASED_LEVELS = 36     # different values that the released SiLU gives on [-8, 8]
UNUSED_RSQRT_ENTRIES = 64   # at an even exponent the top 8 bits are 64..255
CITED = (3.03, 0.42)     # largest and mean error of the released SiLU, where its output is absent


def silu(x: np.ndarray) -> np.ndarray:
    """x / (1 + e^-x)."""
    return x / (1 + np.exp(-x))


@dataclass(frozen=True)
class Approximated:
    """A function, the paper's kind of partition of its domain, and another one to compare with."""

    name: str
    function: Function
    edges: np.ndarray
    partition: str
    other: tuple[str, np.ndarray] | None = None

    @property
    def domain(self) -> str:
        return f"[{self.edges[0]:g}, {self.edges[-1]:g}]"


@dataclass(frozen=True)
class Row:
    """One line of the table. Errors are absolute; `relative` is the largest relative one."""

    function: str
    domain: str
    partition: str
    pieces: int | str
    steps: int | str
    fit: str
    largest: float
    mean: float
    relative: float | None = None


def approximated() -> list[Approximated]:
    """The paper's six functions on its partitions; where it names no domain, the domain is ours."""
    apart = logarithmic(0.25, 4, PIECES)
    even = ("uniform", uniform(0.25, 4, PIECES))
    return [
        Approximated("square", np.square, power_law(4, PIECES, 1.2), "power law, p = 1.2",
                     ("uniform", uniform(0, 4, PIECES))),
        Approximated("square root", np.sqrt, logarithmic(1 / 64, 4, PIECES), "logarithmic",
                     ("uniform", uniform(1 / 64, 4, PIECES))),
        Approximated("reciprocal", np.reciprocal, apart, "logarithmic", even),
        Approximated("rsqrt", lambda x: x**-0.5, apart, "logarithmic", even),
        Approximated("exp2", np.exp2, uniform(-8, 0, PIECES), "uniform"),
        Approximated("SiLU", silu, uniform(-8, 8, PIECES), "uniform"),
    ]


def error(got: np.ndarray, wanted: np.ndarray) -> tuple[float, float, float | None]:
    """(largest, mean, largest relative) error; the last is None where the function may be 0."""
    off = np.abs(got - wanted)
    zero = not np.abs(wanted).min()
    relative = None if zero or wanted.min() < 0 else float((off / wanted).max())
    return float(off.max()), float(off.mean()), relative


def fitted(a: Approximated) -> Iterator[Row]:
    """A function's rows on real numbers."""
    x = np.linspace(a.edges[0], a.edges[-1], POINTS)
    wanted = a.function(x)
    for partition, edges in ((a.partition, a.edges), *([a.other] if a.other else [])):
        for steps in (STEPS, 1):
            neurons = staircase.fit(a.function, edges, steps)
            yield Row(a.name, a.domain, partition, PIECES, neurons.steps, "staircase",
                      *error(neurons(x), wanted))
        yield Row(a.name, a.domain, partition, PIECES, "-", "lines",
                  *error(lines.fit(a.function, edges)(x), wanted))
    trained = staircase.train(a.function, a.edges, PIECES)
    yield Row(a.name, a.domain, "trained", 1, trained.steps, "staircase",
              *error(trained(x), wanted))


def released(vectors: Path | None) -> Iterator[Row]:
    """The released SiLU, and trained staircases of as many levels and steps on the same points."""
    largest, mean = CITED
    x, source = uniform(-8, 8, 1600), "cited"
    if vectors is not None:
        with np.load(vectors) as arrays:
            x = arrays["silu_input"].astype(np.float64)
            largest, mean, _ = error(arrays["silu_released_output"], silu(x))
        source = "measured"
    yield Row("SiLU", "[-8, 8]", "released", 6, RELEASED_STEPS, f"released tables, {source}",
              largest, mean)
    for steps in (RELEASED_LEVELS, RELEASED_STEPS):
        trained = staircase.train(silu, uniform(-8, 8, PIECES), steps)
        yield Row("SiLU", "[-8, 8]", "trained", 1, steps, "staircase", *error(trained(x), silu(x)))


def hardware() -> Iterator[Row]:
    """The integer tables of an image, over every argument for which they differ."""
    tables = functions.default_tables()
    t = np.arange(EXP2_CLAMP + 1)
    value = functions.exp2_negative(t, tables) / 2**EXP2_FRACTION
    largest, mean, _ = error(value, 2.0 ** (-t / 2**SCORE_FRACTION))
    yield Row("exp2", "[-31, 0]", "uniform, shifted", EXP2_PIECES, "-", "integer chords", largest,
              mean)
    g = np.arange(-functions.SILU_LIMIT, functions.SILU_LIMIT)
    value = functions.silu(g, SILU_FRACTION, tables) / 2**SILU_FRACTION
    yield Row("SiLU", "[-8, 8)", "uniform", len(tables.silu_base), "-", "integer lines",
              *error(value, silu(g / 2**SILU_FRACTION)))
    v = np.arange(1, 1 << 17)
    for name, unit, power, entries in (
        ("reciprocal", functions.reciprocal, -1.0, RECIPROCAL_ENTRIES),
        ("rsqrt", functions.rsqrt, -0.5, RSQRT_ENTRIES - UNUSED_RSQRT_ENTRIES),
    ):
        mantissa, exponent = unit(v, tables)
        largest, mean, _ = error(mantissa * 2.0**exponent / v**power, np.ones(len(v)))
        yield Row(name, "1 .. 2^17", "uniform, shifted", entries, "-",
                  "integer entries, errors relative", largest, mean, largest)


def shared_vectors() -> Path | None:
    """The released operators' outputs, where the folder of reference files has them."""
    folder = Path(os.environ.get("SPIKELET_SHARED", PATH.parents[2] / "shared"))
    return folder / RELEASED_VECTORS if (folder / RELEASED_VECTORS).exists() else None


def table(vectors: Path | None) -> str:
    """All rows as a Markdown table; errors with three digits.

    `vectors`: outputs of the released operators; None takes the figures that the docs cite.
    """
    everything = [*(row for a in approximated() for row in fitted(a)), *released(vectors),
                  *hardware()]

    def cells(r: Row) -> list[object]:
        relative = "" if r.relative is None else f"{r.relative:.2%}"
        return [r.function, r.domain, r.partition, r.pieces, r.steps, r.fit, f"{r.largest:.3g}",
                f"{r.mean:.3g}", relative]

    head = ["function", "domain", "partition", "pieces", "steps", "fit", "largest error",
            "mean error", "largest relative"]
    body = [head, ["---"] * len(head), *map(cells, everything)]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in body)


def replaced(document: str, new: str) -> str:
    """A document with `new` in the place of its table, the lines that begin with a bar."""
    before, bar, rest = document.partition("\n|")
    after = [line for line in (bar[1:] + rest).splitlines(True) if not line.startswith("|")]
    return before + "\n" + new + "".join(after)
