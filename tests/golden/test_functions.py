"""Fits of function neurons: optimal, on the paper's partitions, and what the docs say they are."""

from itertools import combinations

import numpy as np
import pytest

from golden.function_fits import lines, report, staircase
from golden.function_fits.partitions import logarithmic, power_law, subdivide, uniform
from golden.paper.operators import SILU_PIECES as RELEASED_PIECES
from golden.units import functions as units
from isa.formats import SILU_FRACTION, SILU_SLOPE_FRACTION
from tests.golden.models import SEED
from tests.shared import shared_file

FUNCTIONS = {a.name: a for a in report.approximated()}
I = np.arange(65) / 64  # noqa: E741
EDGES = {   # the partitions once more, as the paper writes them
    "square": 4 * I**1.2,
    "square root": (1 / 64) * 256**I,
    "reciprocal": 16**I / 4,
    "rsqrt": 16**I / 4,
    "exp2": 8 * I - 8,
    "SiLU": 16 * I - 8,
}


def largest_error(fit, a: report.Approximated) -> float:
    x = np.linspace(a.edges[0], a.edges[-1], report.POINTS)
    return float(np.abs(fit(x) - a.function(x)).max())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_staircase_is_off_by_half_a_step_of_the_worst_piece(name):
    """T steps can follow a piece's range to range / 2T: the partition alone decides the figure."""
    a, steps = FUNCTIONS[name], 4

    def bound(edges):
        return max(np.ptp(a.function(np.linspace(*ends, 99)))
                   for ends in zip(edges[:-1], edges[1:], strict=True)) / (2 * steps)

    expected = bound(EDGES[name])
    neurons = staircase.fit(a.function, a.edges, steps)
    assert neurons.steps == 256
    assert largest_error(neurons, a) == pytest.approx(expected, rel=0.03)
    for wrong in (power_law(1, 64, 1.5), power_law(1, 64, 0.7)):
        other = bound(a.edges[0] + np.ptp(a.edges) * wrong)
        assert abs(other / expected - 1) > 0.05     # another partition does not pass


def test_partitions():
    assert uniform(-1, 3, 4).tolist() == [-1, 0, 1, 2, 3]
    assert power_law(8, 2, 3).tolist() == [0, 1, 8]
    assert logarithmic(1, 64, 3) == pytest.approx([1, 4, 16, 64])
    assert subdivide(np.array([0.0, 1, 3]), 2).tolist() == [[0, 0.5, 1], [1, 2, 3]]


@pytest.mark.parametrize("least", ["largest", "squared"])
@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_steps_are_optimal(least, steps):
    """Against every way to cut nine cells of a random function."""
    print("seed", SEED)
    rng = np.random.default_rng([SEED, steps])
    cells, knots = 9, rng.normal(size=19)

    def function(x):
        return np.interp(x, np.linspace(-2, 1, 19), knots)      # knots at cell edges and middles

    got = staircase.fit(function, np.array([-2.0, 1.0]), steps, least, cells)
    edges = np.linspace(-2, 1, cells + 1)
    costs = []
    for cuts in combinations(range(1, cells), steps - 1):
        ends = [0, *cuts, cells]
        parts = []
        for low, high in zip(ends[:-1], ends[1:], strict=True):
            if least == "largest":
                parts.append(np.ptp(function(edges[low:high + 1])) / 2)
            else:
                y = function((edges[low:high] + edges[low + 1:high + 1]) / 2)
                parts.append(float(((y - y.mean()) ** 2).sum()))
        costs.append(max(parts) if least == "largest" else sum(parts))
    x = (edges[:-1] + edges[1:]) / 2                            # a step is whole cells
    if least == "squared":
        found = float(((got(x) - function(x)) ** 2).sum())
    else:
        found = max(np.abs(got(x) - function(end)).max() for end in (edges[:-1], edges[1:]))
    assert found == pytest.approx(min(costs))


def test_a_neuron_is_its_steps_in_time():
    """Thresholds and amplitudes by hand, on both sides of 0: V grows by x and is never reset."""
    neurons = staircase.FunctionNeurons(np.array([-2.0, 0.0, 2.0]),
                                        np.array([[-2.0, -2.0], [0.0, 3.0]]),
                                        np.array([[5.0, 10.0], [1.0, -4.0]]))
    x = np.array([-2, -1.1, -1, -0.1, 0, 1.4, 1.5, 1.9])
    assert neurons(x).tolist() == [5, 5, 15, 15, 1, 1, -3, -3]


def test_too_few_cells():
    with pytest.raises(ValueError, match="too few"):
        staircase.fit(np.square, np.array([0.0, 1.0]), 5, cells=4)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_trained_steps_beat_one_step_a_piece(name):
    a = FUNCTIONS[name]
    x = np.linspace(a.edges[0], a.edges[-1], report.POINTS)
    trained = staircase.train(a.function, a.edges, 32, cells=8)
    pieces = staircase.fit(a.function, uniform(a.edges[0], a.edges[-1], 32), 1, "squared", 8)
    squares = [np.square(fit(x) - a.function(x)).mean() for fit in (trained, pieces)]
    assert trained.steps == pieces.steps and squares[0] < squares[1]


def test_lines_of_the_square():
    """Of x^2 a chord of width h is off by h^2 / 4, the best line by h^2 / 8."""
    edges = EDGES["square"]
    a, widest = FUNCTIONS["square"], np.diff(edges).max()
    for make, part in ((lines.chords, 4), (lines.fit, 8)):
        off = largest_error(make(np.square, edges), a)
        assert off == pytest.approx(widest**2 / part, rel=0.01)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_lines_are_off_alike_on_both_sides_three_times(name):
    """What makes a line's largest error the least (Chebyshev): +-e in turn, at three points."""
    a = FUNCTIONS[name]
    x = subdivide(a.edges, lines.SAMPLES)
    fit = lines.fit(a.function, a.edges)
    off = fit.base[:, None] + fit.slope[:, None] * (x - x[:, :1]) - a.function(x)
    for piece, line in enumerate(off):
        e = np.abs(line).max()
        touched = np.sign(line[np.abs(line) > e * (1 - 1e-3)])
        turns = 1 + np.count_nonzero(np.diff(touched))
        assert turns >= 3 or e < 1e-12, f"piece {piece}"


def test_optimal_staircase_beats_the_released_one():
    vectors = np.load(shared_file(report.RELEASED_VECTORS))
    x, y = vectors["silu_input"].astype(float), vectors["silu_released_output"]
    assert len(np.unique(y)) == report.RELEASED_LEVELS
    steps = sum(neuron.steps for _, _, neurons in RELEASED_PIECES for neuron in neurons)
    assert steps == report.RELEASED_STEPS
    largest, mean, _ = report.error(y, report.silu(x))
    assert (round(largest, 2), round(mean, 2)) == report.CITED
    trained = staircase.train(report.silu, uniform(-8, 8, 64), report.RELEASED_LEVELS)
    ours = report.error(trained(x), report.silu(x))
    assert ours[0] < largest / 20 and ours[1] < mean / 9


def test_the_document_is_current():
    document = report.PATH.read_text(encoding="utf-8")
    vectors = report.shared_vectors()
    table = report.table(vectors)
    if vectors is None:                     # the released row is cited then, with fewer digits
        lines_ = [[line for line in text.splitlines(True) if "released tables" not in line]
                  for text in (document, table)]
        document, table = map("".join, lines_)
    assert table in document, "run python -m golden.function_fits --write"


def test_a_table_is_replaced():
    assert report.replaced("a\n\n| x |\n| y |\n\nb | c\n", "| z |\n") == "a\n\n| z |\n\nb | c\n"


def test_integer_silu_lines_are_the_best():
    """No slope gives a smaller largest error, but in the piece that must be 0 at 0."""
    g = np.arange(-units.SILU_LIMIT, units.SILU_LIMIT).reshape(64, -1)
    wanted = g / (1 + np.exp(-g / 2**SILU_FRACTION))
    tables = units.default_tables()
    got = units.silu(g.ravel(), SILU_FRACTION, tables).reshape(g.shape)
    off = np.abs(got - wanted).max(1)
    delta = np.arange(g.shape[1])
    least = np.full(64, np.inf)
    for slope in range(-127, 128):
        rest = wanted - units.rshift(slope * delta, SILU_SLOPE_FRACTION)
        least = np.minimum(least, np.ptp(rest, axis=1) / 2)
    free = np.arange(64) != 32
    assert (off[free] <= least[free] + 0.5 + 1e-9).all()        # a base is an integer
    assert off.max() < 16.1                                     # chords: 18.2 of 2^-12


@pytest.mark.parametrize("fraction", range(4, 13))
def test_silent_silu_stays_silent(fraction):
    assert units.silu(np.zeros(1), fraction, units.default_tables())[0] == 0
