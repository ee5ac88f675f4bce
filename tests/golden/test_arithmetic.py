"""The PyTorch twins give the integers of golden/units, at random and at the edges."""

import numpy as np
import pytest
import torch

from golden.model import arithmetic as fast
from golden.model.spiking_time import AtOnce
from golden.units import attention, fixed, functions, norm
from golden.units import post as post_unit
from golden.units.neuron import total
from isa.formats import EXP2_CLAMP, VECTOR
from isa.schedule import Population, phase_schedule
from tests.golden.models import SEED

TABLES = functions.default_tables()
TORCH_TABLES = fast.Tables.of(TABLES)
EDGES = np.array([0, 1, -1, 2, 3, 126, 127, 128, 129, -127, -128, 255, 256, 2**22, 2**23 - 1,
                  1 - 2**23, 2**23, -2**23, 2**31, -2**31])


@pytest.fixture
def rng():
    print("seed", SEED)
    return np.random.default_rng(SEED)


def integers(rng, size: int, bits: int = 24) -> np.ndarray:
    """Numbers of every magnitude up to `bits` bits, and the edges."""
    length = rng.integers(1, bits, size)
    value = rng.integers(0, 1 << length) * rng.choice([-1, 1], size)
    return np.concatenate([EDGES, value])


def equal(got: torch.Tensor, expected: np.ndarray) -> bool:
    return np.array_equal(got.numpy(), np.asarray(expected))


def test_rshift_scale_saturate(rng):
    v = integers(rng, 4000, 40)
    shifts = rng.integers(-20, 70, len(v))
    assert equal(fast.rshift(torch.tensor(v), torch.tensor(shifts)), fixed.rshift(v, shifts))
    small = np.concatenate([EDGES, rng.integers(-2**23, 2**23, 500)])
    for shift in (-62, -30, -25, -24, -3, 0, 1, 7, 24, 61, 62, 63, 100):
        if shift > -24:
            assert equal(fast.rshift(torch.tensor(v), shift), fixed.rshift(v, shift))
        for s in (shift, torch.full((len(small),), shift)):
            got, count = fast.scale(torch.tensor(small), s)
            expected, expected_count = fixed.scale(small, np.int64(shift))
            assert equal(got, expected) and count == expected_count, shift
    got, count = fast.saturate(torch.tensor(v), 16)
    expected, expected_count = fixed.saturate(v, 16)
    assert equal(got, expected) and count == expected_count > 0


def test_encode(rng):
    for _ in range(60):
        v = np.clip(integers(rng, 50, int(rng.integers(2, 24))), -VECTOR.maximum, VECTOR.maximum)
        v = v[rng.permutation(len(v))[:int(rng.integers(1, 9))]]
        exponent = fixed.code_exponent(fixed.magnitude(v))
        got = fast.code_exponent(torch.tensor(v))
        assert got.tolist() == [exponent]
        assert equal(fast.encode(torch.tensor(v), got), fixed.encode(v, exponent))
    assert fast.code_exponent(torch.zeros(3, 2, dtype=torch.int64)).tolist() == [[-7]] * 3


def test_tables_of_functions(rng):
    v = np.concatenate([np.arange(1, 5000), 2**np.arange(32), 2**np.arange(1, 33) - 1,
                        rng.integers(1, 2**32, 3000), [0]])
    for name in ("rsqrt", "reciprocal"):
        got = getattr(fast, name)(torch.tensor(v), TORCH_TABLES)
        expected = getattr(functions, name)(v, TABLES)
        assert equal(got[0], expected[0]) and equal(got[1], expected[1]), name
    t = np.concatenate([np.arange(EXP2_CLAMP + 300), [2**24]])
    assert equal(fast.exp2(torch.tensor(t), TORCH_TABLES),
                 functions.exp2_negative(t, TABLES))
    g = np.concatenate([EDGES[np.abs(EDGES) <= VECTOR.maximum], np.arange(-2**16, 2**16, 7)])
    for fraction in range(13):
        assert equal(fast.silu(torch.tensor(g), fraction, TORCH_TABLES),
                     functions.silu(g, fraction, TABLES)), fraction


def test_rotate(rng):
    head = rng.integers(-VECTOR.maximum, VECTOR.maximum + 1, (7, 12))
    angle = rng.uniform(-4, 4, (7, 6))
    cosine, sine = (np.round(f(angle) * 1024).astype(np.int64) for f in (np.cos, np.sin))
    got, count = fast.rotate(torch.tensor(head), torch.tensor(cosine), torch.tensor(sine))
    expected, expected_count = attention.rotate(head, cosine, sine)
    assert equal(got, expected) and count == expected_count > 0


def test_post(rng):
    for _ in range(50):
        n = 40
        acc = rng.integers(-2**21, 2**21, n) >> rng.integers(0, 20, n)
        gain, drop = rng.integers(128, 256, n), rng.integers(0, 14, n)
        mantissa, shift = int(rng.integers(128, 256)), rng.integers(-10, 20, n)
        addends = [rng.integers(-2**22, 2**22, n) if rng.random() < 0.5 else None
                   for _ in range(2)]
        expected, count = post_unit.post(acc, gain, drop, mantissa, shift, *addends)
        got, got_count = fast.post(*map(torch.tensor, (acc, gain, drop)), mantissa,
                                   torch.tensor(shift),
                                   *(None if a is None else torch.tensor(a) for a in addends))
        assert equal(got, expected) and got_count == count


def test_norm_scalar(rng):
    for _ in range(60):
        constants = norm.NormConstants(int(rng.integers(128, 256)), int(rng.integers(6, 16)),
                                       int(rng.integers(0, 256)), int(rng.integers(-20, 20)))
        codes = rng.integers(-127, 128, (5, 30)) * rng.integers(0, 2, (5, 1))
        exponents = rng.integers(-7, 18, 5)
        mantissa, exponent = fast.norm_scalar(torch.tensor((codes * codes).sum(1)),
                                              torch.tensor(exponents), constants, TORCH_TABLES)
        got = list(zip(mantissa.tolist(), exponent.tolist(), strict=True))
        assert got == [norm.norm_scalar(c, int(e), constants, TABLES)
                       for c, e in zip(codes, exponents, strict=True)]


def test_matmul_is_exact_at_its_bound():
    assert 1000 * 127 * 127 < 2**24 < 1100 * 127 * 127      # one below, one above float32's range
    for n in (1000, 1100):
        codes = torch.full((1, n), 127)
        codes[0, -1] = 1
        rows = torch.full((n, 1), 127)
        rows[-1] = 1
        gathers = AtOnce()
        sums = gathers.rows(gathers.fire(codes, Population.down), rows)
        assert sums.item() == (n - 1) * 127 * 127 + 1
    with pytest.raises(OverflowError):
        fast.exact_type(1 << 53)


def test_spike_count_is_the_schedule():
    codes = np.arange(-127, 128)
    schedule = phase_schedule()
    assert fast.spike_counts(torch.tensor(codes)).tolist() == \
        [total(np.array([c]), schedule)[1] for c in codes]


def test_powers_of_two_are_exact():
    exponents = torch.arange(-300, 301)
    assert fast.power(exponents).tolist() == [2.0**e for e in exponents.tolist()]
    few = torch.arange(-100, 101, dtype=torch.float32)
    assert fast.power(few).tolist() == [2.0**int(e) for e in few]


def test_norm_scalar_of_float32_sums():
    """Every sum of squares of 40 codes: products of 28 bits, which float32 does not hold."""
    squares = torch.arange(40 * 127 * 127 + 1)
    constants = norm.NormConstants(205, 9, 0, 0)
    results = [fast.norm_scalar(s, torch.zeros_like(s), constants, TORCH_TABLES)
               for s in (squares, squares.to(torch.float32))]
    for expected, got in zip(*results, strict=True):
        assert torch.equal(expected, got)


@pytest.mark.parametrize("fraction", [4, 9, 12])
def test_silu_looked_up(fraction):
    g = torch.arange(-2**17, 2**17, dtype=torch.float64)
    got = fast.silu_at_once(g, fast.silu_values(fraction, TORCH_TABLES))
    assert equal(got, functions.silu(g.to(torch.int64).numpy(), fraction, TABLES))
