"""hdl.lib.arithmetic against golden.units.fixed and plain integers."""

import numpy as np
import pytest
from amaranth.hdl import Module, Signal, signed, unsigned
from amaranth.sim import Simulator

from golden.units import fixed
from hdl.lib import arithmetic
from tests.seeds import generator, seed

WIDTHS = [1, 2, 5, 8, 9]


def _evaluate(inputs, output, vectors):
    """The value of `output` for every tuple of input values."""
    m = Module()
    result = Signal(output.shape())
    m.d.comb += result.eq(output)
    results = []

    async def process(ctx):
        for vector in vectors:
            for signal, value in zip(inputs, vector, strict=True):
                ctx.set(signal, value)
            await ctx.delay(1e-9)
            results.append(ctx.get(result))

    simulator = Simulator(m)
    simulator.add_testbench(process)
    simulator.run()
    return results


def _range(shape):
    if shape.signed:
        return -(1 << (shape.width - 1)), (1 << (shape.width - 1)) - 1
    return 0, (1 << shape.width) - 1


def _corners(rng, shape, count):
    low, high = _range(shape)
    corners = [low, high, 0, min(high, 1), max(low, -1)]
    return corners + [rng.randint(low, high) for _ in range(count)]


def test_code_by_code_modulate_is_exact():
    value, code = Signal(signed(5)), Signal(signed(8))
    vectors = [(v, k) for v in range(-16, 16) for k in range(-128, 128)]
    got = _evaluate((value, code), arithmetic.modulate(value, code), vectors)
    assert got == [v * k for v, k in vectors]


@pytest.mark.parametrize("code_bits", WIDTHS)
@pytest.mark.parametrize("value_signed", [False, True])
@pytest.mark.parametrize("code_signed", [False, True])
def test_modulate(code_bits, value_signed, code_signed):
    rng = generator(f"modulate {seed()} {code_bits} {value_signed} {code_signed}")
    value_shape = signed(26) if value_signed else unsigned(16)
    code_shape = signed(code_bits) if code_signed else unsigned(code_bits)
    value, code = Signal(value_shape), Signal(code_shape)
    vectors = [
        (v, k)
        for v in _corners(rng, value_shape, 12)
        for k in _corners(rng, code_shape, 12)
    ]
    got = _evaluate((value, code), arithmetic.modulate(value, code), vectors)
    assert got == [v * k for v, k in vectors]


@pytest.mark.parametrize("code_signed", [False, True])
def test_digits_are_between_minus_two_and_two(code_signed):
    shape = signed(8) if code_signed else unsigned(8)
    layout = arithmetic.digits_layout(8, code_signed)
    code = Signal(shape)
    low, high = _range(shape)
    codes = list(range(low, high + 1))
    for k, bits in zip(codes, _evaluate((code,), arithmetic.recode(code), [(k,) for k in codes]),
                       strict=True):
        total = 0
        for index, digit in enumerate(layout.from_bits(bits)):
            assert not (digit.one and digit.two)
            size = 2 * digit.two + digit.one
            total += (-size if digit.negative else size) * 4**index
        assert total == k


@pytest.mark.parametrize("limit", [7, 33, 63])
def test_round_shift_right(limit):
    rng = generator(f"round_shift_right {seed()} {limit}")
    value, amount = Signal(signed(34)), Signal(range(limit + 1))
    vectors = [
        (v, s)
        for v in _corners(rng, signed(34), 25)
        for s in [0, 1, 2, limit - 1, limit, rng.randint(0, limit)]
    ]
    got = _evaluate((value, amount), arithmetic.round_shift_right(value, amount, limit), vectors)
    expected = fixed.rshift(np.array([v for v, _ in vectors]), np.array([s for _, s in vectors]))
    assert got == expected.tolist()


@pytest.mark.parametrize("width", [12, 24, 25, 32])
def test_saturate(width):
    rng = generator(f"saturate {seed()} {width}")
    value = Signal(signed(width))
    values = _corners(rng, signed(width), 40)
    for edge in (-(1 << 23), (1 << 23) - 1):
        values += [v for v in range(edge - 2, edge + 3) if _range(signed(width))[0] <= v
                   <= _range(signed(width))[1]]
    results, flags = arithmetic.saturate(value, 24)
    vectors = [(v,) for v in values]
    expected = [fixed.saturate(np.array([v])) for v in values]
    assert _evaluate((value,), results, vectors) == [int(e[0][0]) for e in expected]
    assert _evaluate((value,), flags, vectors) == [e[1] for e in expected]


def test_absolute_and_bit_length():
    value, size = Signal(signed(8)), Signal(unsigned(8))
    values = list(range(-127, 128))
    got = _evaluate((value,), arithmetic.absolute(value), [(v,) for v in values])
    assert got == [abs(v) for v in values]
    sizes = list(range(256))
    got = _evaluate((size,), arithmetic.bit_length(size), [(v,) for v in sizes])
    assert got == fixed.bit_length(np.array(sizes)).tolist() == [v.bit_length() for v in sizes]
