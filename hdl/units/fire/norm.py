"""RMSNorm's scalar, 1/rms of the codes that fired, by the rsqrt function neuron."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hdl.lib.arithmetic import digits_layout, highest_bit, modulate_digits, recode
from hdl.lib.pipeline import Stages, delayed
from hdl.lib.shapes import scalar_layout, settings_layout, table_write
from hdl.lib.table_port import connect_tables
from hdl.memory.style import table_style
from hdl.units.fire.squares import SQUARES_BITS, squares_layout
from isa.contents import EMPTY, Contents
from isa.formats import GAIN, MAXIMUM_LEFT_SHIFT, RSQRT_ENTRIES
from isa.packets import Space

_MEAN_BITS = 32
_LOW_DIGITS = 2  # of the mean's mantissa: products of these and of the others, then their sum
_SHIFT_REGISTERS = 2  # in a shifter
STAGES = Stages(
    sum=0,  # it is taken
    taken=1,
    parts=1,  # products of the sum and of a part of the mean's mantissa each
    product=1,
    shifted=_SHIFT_REGISTERS,  # the mean and epsilon
    value=1,  # their sum
    places=1,  # half its bit length
    entry=1,  # of the table
    scalar=1,
)
"""A sum's way to its scalar."""
LATENCY = STAGES.latency
"""Cycles from a sum's transfer to the offer of its scalar."""
_EPSILON_RIGHT = 15  # a right shift beyond the mantissa's nine bits leaves nothing


class Norm(wiring.Component):
    """1 / sqrt(16 * mean(code**2) + epsilon) of each sum that comes (golden.units.norm).

    mean = rshift(sum * mean_mantissa, mean_shift), plus rshift(epsilon_mantissa,
    max(epsilon_shift + 2 * exponent, -24)), cut at 2**32 - 1; the table (space RSQRT) gives the
    mantissa, and the exponent is -e/2 - 7 with e the bit length rounded up to even. Everything
    rounds half up. The scalar comes LATENCY cycles after its sum; one sum at a time, so `squares`
    waits until `scalar` is taken. `coming`: a scalar is valid in the next cycle, unless it is taken
    in this one.
    """

    squares: In(stream.Signature(squares_layout()))
    scalar: Out(stream.Signature(scalar_layout()))
    coming: Out(1)
    settings: In(settings_layout())
    tables: In(table_write())

    def __init__(self, contents: Contents = EMPTY, block: bool = False) -> None:
        self._contents, self._block = contents, block
        super().__init__()

    def elaborate(self, platform) -> Module:
        m = Module()
        # Where the sum is on its way, one-hot: bit k is stage k + 1. All 0 without one. The sum
        # stands all the while, so registers on the way hold nothing that could be lost.
        under_way = Signal(LATENCY)
        accept = self.squares.valid & self.squares.ready
        with m.If(~under_way[-1]):
            m.d.sync += under_way.eq(Cat(accept, under_way))
        with m.Elif(self.scalar.ready):
            m.d.sync += under_way.eq(0)
        m.d.comb += [
            self.squares.ready.eq(~under_way.any()),
            self.scalar.valid.eq(under_way[-1]),
            self.coming.eq(under_way[-1] | under_way[-2]),
        ]
        mean, epsilon = self._mean(m, accept)
        exact = Signal(len(mean) + 1)
        value = Signal(_MEAN_BITS)
        m.d.comb += exact.eq(mean + epsilon)
        m.d.sync += value.eq(Mux(exact[_MEAN_BITS:].any(), (1 << _MEAN_BITS) - 1, exact))
        self._inverse_root(m, value, under_way[-2])
        return m

    def _mean(self, m: Module, accept) -> tuple[Signal, Signal]:
        """The mean of the squares times 16, and epsilon at the same exponent."""
        settings = self.settings
        total = Signal(SQUARES_BITS)
        shift = Signal(signed(11))
        with m.If(accept):
            m.d.sync += [
                total.eq(self.squares.payload.sum),
                shift.eq(settings.epsilon_shift + (self.squares.payload.exponent << 1)),
            ]
        digits = Signal(digits_layout(GAIN.bits))  # of a setting: it stands long before a sum
        m.d.sync += digits.eq(recode(settings.mean_mantissa))
        low, high = digits.as_value()[: 3 * _LOW_DIGITS], digits.as_value()[3 * _LOW_DIGITS :]
        parts = [
            delayed(m, modulate_digits(total, some, 2 * (len(some) // 3))) for some in (low, high)
        ]
        product = Signal(SQUARES_BITS + GAIN.bits)
        right = Signal(range(MAXIMUM_LEFT_SHIFT + _EPSILON_RIGHT + 1))
        limited = Mux(shift > _EPSILON_RIGHT, _EPSILON_RIGHT, shift) + MAXIMUM_LEFT_SHIFT
        m.d.sync += [
            product.eq(parts[0] + (parts[1] << 2 * _LOW_DIGITS)),
            right.eq(Mux(shift < -MAXIMUM_LEFT_SHIFT, 0, limited)),
        ]
        mean = _shifted(m, product, settings.mean_shift, len(product) + 1)
        epsilon = _shifted(
            m, settings.epsilon_mantissa << MAXIMUM_LEFT_SHIFT, right,
            GAIN.bits + MAXIMUM_LEFT_SHIFT,
        )  # fmt: skip
        return mean, epsilon

    def _inverse_root(self, m: Module, value, found) -> None:
        """The scalar 1/sqrt(value); its exponent is kept at `found`."""
        m.submodules.table = table = Memory(
            shape=unsigned(GAIN.bits), depth=RSQRT_ENTRIES, attrs=table_style(self._block),
            init=self._contents.of(Space.RSQRT),
        )  # fmt: skip
        connect_tables(m, table.write_port(), self.tables, Space.RSQRT)
        # Half the bit length rounded up to even, less one; zero counts as one.
        half = Signal(range(_MEAN_BITS // 2))
        wide = Signal(_MEAN_BITS)
        pairs = [value[k : k + 2].any() for k in range(0, len(value), 2)]
        m.d.sync += [half.eq(highest_bit(Cat(*pairs))), wide.eq(value | (value == 0))]

        entry = Signal(range(RSQRT_ENTRIES))
        m.d.sync += entry.eq(((wide << 6) >> (half << 1))[:8])
        read_port = table.read_port(transparent_for=())
        m.d.comb += [
            read_port.addr.eq(entry),
            self.scalar.payload.mantissa.eq(read_port.data),
        ]
        with m.If(found):
            m.d.sync += self.scalar.payload.exponent.eq(-half - 8)


def _shifted(m: Module, value, amount, bits: int) -> Signal:
    """value * 2**-amount rounded half up, _SHIFT_REGISTERS later: a multiple of 8 first."""
    amount = Value.cast(amount)
    coarse = Signal(len(value) + 1, name="coarse")  # with a bit for the half
    fine = Signal(3, name="fine")
    result = Signal(bits, name="result")
    m.d.sync += [
        coarse.eq((value << 1).as_unsigned() >> Cat(Const(0, 3), amount[3:])),
        fine.eq(amount),
        result.eq(((coarse >> fine) + 1) >> 1),
    ]
    return result
