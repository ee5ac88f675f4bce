"""The PyTorch twins give the integers of golden/units, at random and at the edges."""

import numpy as np
import pytest
import torch

from golden.spiking_model import arithmetic as fast
from golden.spiking_model import lookups
from golden.spiking_model.in_time import AtOnce, InBytes, at_once, byte_product
from golden.units import attention, fixed, functions, norm
from golden.units import post as post_unit
from golden.units.neuron import spike_response, total
from isa.formats import EXP2_CLAMP, VECTOR
from isa.schedule import Population, phase_schedule
from tests.golden.models import SEED

TABLES = functions.default_tables()
TORCH_TABLES = lookups.TensorTables.of(TABLES)
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
            got, count = fast.saturate(fast.rshift(torch.tensor(small), s))
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
        codes = fast.encode_(torch.tensor(v, dtype=torch.float32), got)
        assert equal(codes, fixed.encode(v, exponent))
    assert fast.code_exponent(torch.zeros(3, 2, dtype=torch.int64)).tolist() == [[-7]] * 3


def test_tables_of_functions(rng):
    v = np.concatenate([np.arange(1, 5000), 2**np.arange(32), 2**np.arange(1, 33) - 1,
                        rng.integers(1, 2**32, 3000), [0]])
    for name in ("rsqrt", "reciprocal"):
        got = getattr(lookups, name)(v.astype(np.float64), TORCH_TABLES)
        expected = getattr(functions, name)(v, TABLES)
        assert np.array_equal(got, expected), name
    t = np.concatenate([np.arange(EXP2_CLAMP + 300), [2**24]])
    assert equal(lookups.exp2(torch.tensor(t), TORCH_TABLES),
                 functions.exp2_negative(t, TABLES))
    g = np.concatenate([EDGES[np.abs(EDGES) <= VECTOR.maximum], np.arange(-2**16, 2**16, 7)])
    for fraction in range(13):
        assert equal(lookups.silu(torch.tensor(g), fraction, TORCH_TABLES),
                     functions.silu(g, fraction, TABLES)), fraction


def test_rotate(rng):
    head = rng.integers(-VECTOR.maximum, VECTOR.maximum + 1, (7, 12))
    angle = rng.uniform(-4, 4, (7, 6))
    cosine, sine = (np.round(f(angle) * 1024).astype(np.int64) for f in (np.cos, np.sin))
    got, count = fast.saturate(fast.rotate_(torch.tensor(head, dtype=torch.float64),
                                            fast.rotary_factors(cosine, sine)))
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
        y = fast.product_half_up_(torch.tensor(acc, dtype=torch.float64),
                                  torch.from_numpy(fast.factor(gain, drop)))
        y, clipped = fast.saturate(y)
        got, got_count = fast.post(y, mantissa, shift,
                                   *(None if a is None else torch.tensor(a) for a in addends))
        assert equal(got, expected) and clipped + got_count == count


def test_norm_scalar(rng):
    for _ in range(60):
        constants = norm.NormConstants(int(rng.integers(128, 256)), int(rng.integers(6, 16)),
                                       int(rng.integers(0, 256)), int(rng.integers(-20, 20)))
        codes = rng.integers(-127, 128, (5, 30)) * rng.integers(0, 2, (5, 1))
        exponents = rng.integers(-7, 18, 5)
        mantissa, exponent = lookups.norm_scalar((codes * codes).sum(1), exponents,
                                                        constants, TORCH_TABLES)
        got = list(zip(mantissa.tolist(), exponent.tolist(), strict=True))
        assert got == [norm.norm_scalar(c, int(e), constants, TABLES)
                       for c, e in zip(codes, exponents, strict=True)]


@pytest.mark.parametrize("length", [3, 7, 15, 16, 22, 23])
def test_ties_of_codes(length):
    """Halves of codes and their neighbours, of vectors whose largest element has `length` bits."""
    largest, step = (1 << length) - 1, 1 << max(length - 7, 0)
    v = np.arange(step // 2, 128 * step, step)[:, None] + np.array([-1, 0, 1])
    v = np.concatenate([v.ravel(), -v.ravel(), [0]]).clip(-largest, largest)
    v = np.stack([v, np.full_like(v, largest)], 1)
    codes, exponent = fast.code(torch.tensor(v, dtype=torch.float64))
    assert (exponent == length - 7).all()
    assert equal(codes, fixed.encode(v, length - 7))


def test_codes_tell_what_saturates(rng):
    for largest in (VECTOR.maximum, VECTOR.maximum + 1, 2**24 + 1, 2**40):
        v = np.stack([rng.integers(-1000, 1000, 8), np.full(8, -5)])
        v[1, 3] = -largest
        value, count, codes, exponent = fast.saturated_code(torch.tensor(v, dtype=torch.float64))
        expected, expected_count = fixed.saturate(v)
        assert equal(value, expected) and count == expected_count == (largest > VECTOR.maximum)
        for row, row_codes, e in zip(expected, codes, exponent, strict=True):
            assert e == fixed.code_exponent(fixed.magnitude(row))
            assert equal(row_codes, fixed.encode(row, int(e[0])))


def gathers() -> list[AtOnce]:
    """All forms of sums of products that are exact on this machine, the one used among them."""
    return [AtOnce(RAISED), *([InBytes(RAISED)] if type(at_once()) is InBytes else [])]


# 128 arrives of the largest codes that fire into `down`.
RAISED = {Population.down: phase_schedule((92, 48, 24, 12, 6, 4, 4, 4))}


def test_matmul_is_exact_at_its_bound():
    assert 1000 * 127 * 127 < 2**24 < 1100 * 127 * 127      # one below, one above float32's range
    for n in (1000, 1100):
        codes = torch.full((1, n), 127, dtype=torch.int8)
        codes[0, -1] = 1
        rows = torch.full((n, 1), 127, dtype=torch.int8)
        rows[-1] = 1
        for form in gathers():
            fired = form.fire(codes, Population.head)
            sums = form.rows(fired, form.held(rows, Population.head))
            assert sums.item() == (n - 1) * 127 * 127 + 1
            batch = form.rows(fired.expand(3, 2, n), rows.expand(3, n, 1))
            assert batch.tolist() == [[[(n - 1) * 127 * 127 + 1]] * 2] * 3
    with pytest.raises(OverflowError):
        fast.exact_type(1 << 53)


def test_products_of_bytes_at_any_strides(rng):
    """Single rows and columns, transposed, cut out, repeated: PyTorch lets strides be anything."""
    def forms(m: int, n: int) -> list[torch.Tensor]:
        whole = torch.tensor(rng.integers(-128, 128, (2 * m + 1, 2 * n + 1)), dtype=torch.int8)
        plain = whole[:m, :n].clone()
        return [plain, plain.T.contiguous().T, whole[:m, :n], whole[::2, ::2][:m, :n],
                whole[:1, :n].expand(m, n), whole[:m, :1].expand(m, n),
                plain.as_strided((m, n), (1, 1)) if m == 1 else plain,
                torch.full((m, n), -128, dtype=torch.int8)]

    if type(at_once()) is not InBytes:
        pytest.skip("int8 products are not exact on this processor, and not used")
    for m, k, n in ((1, 1, 1), (1, 16, 1), (1, 1, 9), (7, 1, 5), (1, 33, 40), (6, 5, 1), (9, 7, 8)):
        for left in forms(m, k):
            for right in forms(k, n):
                assert torch.equal(byte_product(left, right).to(torch.int64),
                                   left.to(torch.int64) @ right.to(torch.int64)), (m, k, n)


def test_sums_of_what_arrives(rng):
    """All codes with extreme and random rows, into exact neurons and ones of raised thresholds."""
    codes = np.stack([np.arange(-127, 128), rng.permutation(np.arange(-127, 128))])
    rows = np.stack([np.full(255, 127), np.full(255, -127), np.sign(np.arange(-127, 128)) * 127,
                     rng.integers(-127, 128, 255)], 1)
    arrives, _ = spike_response(RAISED[Population.down])
    assert arrives.max() == 128
    for population, arrived in ((Population.head, codes), (Population.down, arrives[codes + 127])):
        for form in gathers():
            batch = torch.tensor(codes, dtype=torch.int8)
            fired, weight = form.fire(batch, population), torch.tensor(rows, dtype=torch.int8)
            assert equal(form.rows(fired, form.held(weight, population)), arrived @ rows)
            assert equal(form.rows(fired, weight), arrived @ rows)
            assert equal(form.rows(torch.stack([fired] * 2), torch.stack([weight] * 2))[1],
                         arrived @ rows)
            squares = form.squares(fired, batch, population)
            assert equal(squares[:, 0], (arrived * codes).sum(1))


def test_spike_count_is_the_schedule():
    codes = np.arange(-127, 128)
    schedule = phase_schedule()
    assert fast.SPIKES_OF_CODE[torch.tensor(codes).abs()].tolist() == \
        [total(np.array([c]), schedule)[1] for c in codes]


def test_powers_of_two_are_exact():
    exponents = torch.arange(-300, 301)
    assert fast.power(exponents).tolist() == [2.0**e for e in exponents.tolist()]
    few = torch.arange(-100, 101, dtype=torch.float32)
    assert fast.power(few).tolist() == [2.0**int(e) for e in few]


def test_norm_scalar_of_float32_sums():
    """Every sum of squares of 40 codes: products of 28 bits, which float32 does not hold."""
    squares = np.arange(40 * 127 * 127 + 1)
    constants = norm.NormConstants(205, 9, 0, 0)
    expected, got = (lookups.norm_scalar(s, np.zeros_like(s), constants, TORCH_TABLES)
                     for s in (squares, squares.astype(np.float32)))
    assert np.array_equal(expected, got)


@pytest.mark.parametrize("fraction", [4, 9, 12])
def test_silu_looked_up(fraction):
    g = torch.arange(-2**17, 2**17, dtype=torch.float64)
    got = lookups.silu_at_once(g, lookups.silu_values(fraction, TORCH_TABLES))
    assert equal(got, functions.silu(g.to(torch.int64).numpy(), fraction, TABLES))
