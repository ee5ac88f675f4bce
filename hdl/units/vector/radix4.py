"""Products as sums of shifted copies, for a pipeline: digits first, then rows of carry chains."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hdl.lib.ecp5 import carry_sum
from hdl.lib.pipeline import Carried, Pipeline, Stages
from isa.formats import TRIGONOMETRIC, VECTOR

Digit = tuple[Value, Value, Value]
"""A signed radix-4 digit -2..2: (not 0, size 2, negative)."""

CODE_BITS = TRIGONOMETRIC.bits  # the widest factor that is given in digits
PRODUCT_BITS = VECTOR.bits + CODE_BITS


def as_signed(value: Value) -> Value:
    """The same number with a signed shape."""
    value = Value.cast(value)
    return value if value.shape().signed else Cat(value, Const(0, 1)).as_signed()


def digits(code: Value, negate: Value | int = 0, up: Value | int = 0) -> list[Digit]:
    """Signed radix-4 digits of a signed or unsigned number, 1 more with `up`, or of the negative;
    lowest first."""
    code = as_signed(code)
    bits = [code[i] for i in range(len(code))]
    if len(bits) % 2:
        bits.append(bits[-1])
    below = Value.cast(up)[:1]
    result = []
    for low, high in zip(bits[::2], bits[1::2], strict=True):
        one = low ^ below
        two = (high & ~low & ~below) | (~high & low & below)
        result.append((one | two, two, (one | two) & (high ^ negate)[:1]))
        below = high
    return result


def row_size(value: Value, digit: Digit) -> Value:
    """What a row of add_rows adds for a digit that is neither 0 nor negative."""
    value = as_signed(value)
    wide = Cat(value, value[-1].replicate(2))
    return Mux(digit[1], wide << 1, wide)[: len(wide)]


def add_rows(
    m: Module, platform, value: Value, some: list[Digit], total: Value | None = None,
    size: Value | None = None,
) -> tuple[Value, Value]:
    """(low, total) of total + sum(digit[k] * value * 4**k): the number is Cat(low, total), with two
    bits of `low` for each digit; total has len(value) + 2 bits. A row takes a look-up table a bit
    for the copy's size and one in the carry chain for its sign. `size`: the first row's row_size,
    from a caller that has it in a register.
    """
    value = as_signed(value)
    bits = len(value) + 2
    low = []
    total = Const(0, bits) if total is None else total
    for digit in some:
        nonzero, _, negative = digit
        size = row_size(value, digit) if size is None else size
        ones = negative.replicate(bits)
        row = Signal(bits)
        m.d.comb += row.eq(
            carry_sum(m, platform, total, _copy, size, ones, nonzero.replicate(bits), negative)
        )
        size = None
        low.append(row[:2])
        total = Cat(row[2:], row[-1].replicate(2))
    return Cat(*low), total[: bits - 2].as_signed()


def _copy(size, negative, nonzero):
    return nonzero & (size ^ negative)


class Products(wiring.Component):
    """value * (code + up), or its negative with `negate`, in every lane; LATENCY cycles later.

    With `mute` the products of the next cycle are 0.
    """

    STAGES = Stages(
        factors=0,
        digits=1,  # the code's digits, and the first row's size
        low=1,  # the rows of the low digits
        product=1,  # all rows
    )
    LATENCY = STAGES.latency

    def __init__(self, lanes: int):
        super().__init__(
            {
                "value": In(signed(VECTOR.bits)).array(lanes),
                "code": In(signed(CODE_BITS)).array(lanes),
                "up": In(1).array(lanes),
                "negate": In(1).array(lanes),
                "mute": In(1),
                "product": Out(signed(PRODUCT_BITS)).array(lanes),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        pipeline = Pipeline(m, self.STAGES)
        half = CODE_BITS // 4  # digits before the register that cuts a product in two

        def at(stage: str, carried: list[tuple[Carried, ...]]) -> list[Digit]:
            return [tuple(bit[stage] for bit in digit) for digit in carried]

        for value, code, up, negate, product in zip(
            self.value, self.code, self.up, self.negate, self.product, strict=True
        ):
            parts = digits(code, negate, up)
            held = [tuple(pipeline.carry(bit, "factors") for bit in digit) for digit in parts]
            value = pipeline.carry(value, "factors", name="value")
            size = pipeline.carry(row_size(value["factors"], parts[0]), "factors", name="size")
            low, total = add_rows(
                m, platform, value["digits"], at("digits", held[:half]), size=size["digits"]
            )
            low = pipeline.carry(low, "digits", name="low")["low"]
            total = pipeline.carry(total, "digits", name="total")["low"]
            (middle,) = at("digits", held[half : half + 1])
            size = pipeline.carry(row_size(value["digits"], middle), "digits", name="size")
            begun = Cat(total, total[-1].replicate(2))
            high, total = add_rows(
                m, platform, value["low"], at("low", held[half:]), begun, size["low"]
            )
            whole = Mux(self.mute, 0, Cat(low, high, total))
            m.d.comb += product.eq(pipeline.carry(whole, "low", name="product")["product"])
        return m


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
