"""Combinational integer arithmetic on Amaranth values, equal to golden/units/fixed.py.

No product is ever formed by `*`: `modulate` adds shifted copies, one for each signed radix-4
digit of the smaller factor.
"""

from amaranth.hdl import Cat, Const, Mux, Value, ValueCastable


def _signed(value) -> Value:
    value = Value.cast(value) if isinstance(value, ValueCastable) else value
    if value.shape().signed:
        return value
    return Cat(value, Const(0, 1)).as_signed()


def modulate(value, code) -> Value:
    """value * code as a sum of shifted copies of `value`; both may be signed or unsigned.

    The result is signed and wide enough for every input. Cost: ceil(bits(code) / 2) adders.
    """
    value, code = _signed(value), _signed(code)
    bits = len(code)
    total = None
    for k in range(0, bits, 2):
        below = code[k - 1] if k else Const(0, 1)
        low = code[k]
        high = code[k + 1] if k + 1 < bits else code[bits - 1]
        one = low ^ below  # |digit| == 1
        two = (high & ~low & ~below) | (~high & low & below)
        size = Mux(two, value << 1, Mux(one, value, 0))
        term = Mux(high, -size, size) << k
        total = term if total is None else total + term
    return total[: len(value) + bits].as_signed()


def round_shift_right(value, amount, limit: int) -> Value:
    """value * 2**-amount rounded half up, for 0 <= amount <= limit (`amount` unsigned).

    Amounts above `limit` are not allowed; `limit` bounds the shifter's size.
    """
    value = _signed(value)
    width = len(value) + 1
    # One extra fraction bit holds the half: shift left by one, shift, add one, drop the bit.
    doubled = (value << 1)[: len(value) + 1].as_signed()
    amount = Value.cast(amount)[: limit.bit_length()]
    shifted = doubled >> amount
    return ((shifted + 1) >> 1)[:width].as_signed()


def saturate(value, bits: int) -> tuple[Value, Value]:
    """(value clipped to +-(2**(bits-1) - 1), whether it was clipped)."""
    value = _signed(value)
    maximum = (1 << (bits - 1)) - 1
    high, low = value > maximum, value < -maximum
    clipped = Mux(high, maximum, Mux(low, -maximum, value))
    return clipped[:bits].as_signed(), high | low


def absolute(value) -> Value:
    """|value| as an unsigned value of the same width; exact for the symmetric range."""
    value = _signed(value)
    return Mux(value < 0, -value, value)[: len(value)].as_unsigned()


def bit_length(value) -> Value:
    """Bits needed for an unsigned value: a priority encoder, 0 for 0."""
    value = Value.cast(value)
    result = Const(0, (len(value) + 1).bit_length())
    for i in range(len(value)):
        result = Mux(value[i], i + 1, result)
    return result[: len(value).bit_length()]
