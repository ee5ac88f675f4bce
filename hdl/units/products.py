"""Products as sums of shifted copies, for a pipeline: digits first, then rows of carry chains."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hdl.lib.ecp5 import carry_sum
from hdl.units.pipeline import delayed
from isa.formats import TRIGONOMETRIC, VECTOR

Digit = tuple[Value, Value, Value]
"""A signed radix-4 digit -2..2: (not 0, size 2, negative)."""

CODE_BITS = TRIGONOMETRIC.bits  # the widest factor that is given in digits
PRODUCT_BITS = VECTOR.bits + CODE_BITS


def as_signed(value: Value) -> Value:
    """The same number with a signed shape."""
    value = Value.cast(value)
    return value if value.shape().signed else Cat(value, Const(0, 1)).as_signed()


def digits(code: Value, negate: Value | int = 0) -> list[Digit]:
    """Signed radix-4 digits of a signed or unsigned number, or of its negative; lowest first."""
    code = as_signed(code)
    bits = [code[i] for i in range(len(code))]
    if len(bits) % 2:
        bits.append(bits[-1])
    below: Value = Const(0, 1)
    result = []
    for low, high in zip(bits[::2], bits[1::2], strict=True):
        one = low ^ below
        two = (high & ~low & ~below) | (~high & low & below)
        result.append((one | two, two, (one | two) & (high ^ negate)[:1]))
        below = high
    return result


def add_rows(
    m: Module, platform, value: Value, some: list[Digit], total: Value | None = None
) -> tuple[Value, Value]:
    """(low, total) of total + sum(digit[k] * value * 4**k): the number is Cat(low, total), with two
    bits of `low` for each digit; total has len(value) + 2 bits. A row takes a look-up table a bit
    for the copy's size and one in the carry chain for its sign.
    """
    value = as_signed(value)
    bits = len(value) + 2
    wide = Cat(value, value[-1].replicate(2))
    low = []
    total = Const(0, bits) if total is None else total
    for nonzero, two, negative in some:
        size = Mux(two, wide << 1, wide)[:bits]
        ones = negative.replicate(bits)
        row = Signal(bits)
        m.d.comb += row.eq(
            carry_sum(m, platform, total, _copy, size, ones, nonzero.replicate(bits), negative)
        )
        low.append(row[:2])
        total = Cat(row[2:], row[-1].replicate(2))
    return Cat(*low), total[: bits - 2].as_signed()


def _copy(size, negative, nonzero):
    return nonzero & (size ^ negative)


class Products(wiring.Component):
    """value * code, or value * -code with `negate`, in every lane. Latency 3 cycles.

    With `mute` the products of the next cycle are 0.
    """

    def __init__(self, lanes: int):
        super().__init__(
            {
                "value": In(signed(VECTOR.bits)).array(lanes),
                "code": In(signed(CODE_BITS)).array(lanes),
                "negate": In(1).array(lanes),
                "mute": In(1),
                "product": Out(signed(PRODUCT_BITS)).array(lanes),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        half = CODE_BITS // 4  # digits before the register that cuts a product in two
        for value, code, negate, product in zip(
            self.value, self.code, self.negate, self.product, strict=True
        ):
            held = [tuple(delayed(m, bit) for bit in digit) for digit in digits(code, negate)]
            first = delayed(m, value)
            low, total = add_rows(m, platform, first, held[:half])
            low, total = delayed(m, low), delayed(m, total)
            rest = [tuple(delayed(m, bit) for bit in digit) for digit in held[half:]]
            begun = Cat(total, total[-1].replicate(2))
            high, total = add_rows(m, platform, delayed(m, first), rest, begun)
            m.d.comb += product.eq(delayed(m, Mux(self.mute, 0, Cat(low, high, total))))
        return m


def bit_length(value: Value) -> Value:
    """Bits needed for an unsigned value, 0 for 0: the highest group of four that is not 0, and the
    highest bit in each of them, side by side."""
    value = Cat(Const(0, 1), value)  # bit k is set: length k, or more
    groups = [value[i : i + 4] for i in range(0, len(value), 4)]
    found = [group.any() for group in groups]
    highest = [~Cat(found[k + 1 :]).any() for k in range(len(groups))]
    inside = [
        (
            Cat(group[3:], group[1:2] & ~group[2:3]).any() & here,
            group[2:].any() & here,
        )
        for group, here in zip(groups, highest, strict=True)
    ]
    result = [Cat(low for low, _ in inside).any(), Cat(high for _, high in inside).any()]
    for bit in range((len(groups) - 1).bit_length()):
        some = [found[k] & highest[k] for k in range(len(groups)) if k >> bit & 1]
        result.append(Cat(some).any())
    return Cat(result)


def highest_bit(value: Value) -> tuple[Value, Value]:
    """(whether an unsigned value is not 0, number of its highest bit that is set)."""

    def top(bits: list[Value]) -> tuple[Value, list[Value]]:
        """Whether a bit is set, and the index of the highest one, low bit first."""
        if len(bits) == 1:
            return bits[0], []
        half = len(bits) // 2
        low, low_index = top(bits[:half])
        high, high_index = top(bits[half:])
        pairs = zip(high_index, low_index, strict=True)
        index = [Mux(high, above, below) for above, below in pairs]
        return low | high, [*index, high]

    value = Value.cast(value)
    size = 1 << (len(value) - 1).bit_length()
    bits = [value[i] for i in range(len(value))] + [Const(0, 1)] * (size - len(value))
    found, index = top(bits)
    return found, Cat(index)
