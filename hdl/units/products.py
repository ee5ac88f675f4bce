"""Products as sums of shifted copies, cut where a pipeline wants its registers.

`hdl.lib.arithmetic.modulate` is one combinational block; these parts allow a register between the
partial sums and their join, and never negate a copy with a carry chain of its own.
"""

from amaranth.hdl import Cat, Const, Mux, Value

Digit = tuple[Value, Value, Value]
"""A signed radix-4 digit -2..2: (size 1, size 2, negative)."""


def as_signed(value: Value) -> Value:
    """The same number with a signed shape."""
    value = Value.cast(value)
    return value if value.shape().signed else Cat(value, Const(0, 1)).as_signed()


def digits(code: Value) -> list[Digit]:
    """Signed radix-4 digits of a signed or unsigned number, lowest first."""
    code = as_signed(code)
    bits = [code[i] for i in range(len(code))]
    if len(bits) % 2:
        bits.append(bits[-1])
    below: Value = Const(0, 1)
    result = []
    for low, high in zip(bits[::2], bits[1::2], strict=True):
        two = (high & ~low & ~below) | (~high & low & below)
        result.append((low ^ below, two, high))
        below = high
    return result


def gather(value: Value, code_digits: list[Digit]) -> tuple[Value, Value]:
    """(total, carry) of n digits: sum(digit[k] * value * 4**k) = total + carry * 4**(n - 1).

    A negative copy is added as its one's complement. The one that is missing goes into the free
    low bits of the next copy, the last one to the caller. It is 0 for an unsigned code of an odd
    number of bits.
    """
    value = as_signed(value)
    width = len(value) + 2 * len(code_digits)
    # One width for all copies, a machine word's where that will do: simulators are quicker.
    word = 32 if width <= 32 else width
    value = Cat(value, value[-1].replicate(word - len(value)))
    total, carry = Const(0, word), Const(0, 1)
    for k, (one, two, negative) in enumerate(code_digits):
        size = Mux(two, value << 1, Mux(one, value, 0))[:word]
        copy = size ^ negative.replicate(word)
        if k == 0:
            total = copy
        else:
            total = (total + Cat(Const(0, 2 * k - 2), carry, Const(0, 1), copy)[:word])[:word]
        carry = negative
    return total[:width].as_signed(), carry


def join(low: Value, carry: Value, high: Value, low_digits: int) -> Value:
    """low + carry * 4**(low_digits - 1) + high * 4**low_digits, in one addition."""
    copies = Cat(Const(0, 2 * low_digits - 2), carry, Const(0, 1), high).as_signed()
    return low + copies


def round_saturate(doubled: Value, bits: int) -> tuple[Value, Value]:
    """(doubled / 2 rounded half up and clipped to +-(2**(bits-1) - 1), whether it was clipped).

    The comparisons do not wait for the rounding.
    """
    doubled = as_signed(doubled)
    maximum = (1 << (bits - 1)) - 1
    high = doubled >= 2 * maximum + 1
    low = doubled < -2 * maximum - 1
    rounded = ((doubled + 1) >> 1)[:bits].as_signed()
    clipped = Mux(high, maximum, Mux(low, -maximum, rounded))
    return clipped[:bits].as_signed(), high | low


def bit_length(value: Value) -> Value:
    """Bits needed for an unsigned value, 0 for 0: a tree of logarithmic depth."""

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
    return Mux(found, Cat(index) + 1, 0)[: len(value).bit_length()]
