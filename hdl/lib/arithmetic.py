"""Combinational integer arithmetic on Amaranth values, equal to golden/units/fixed.py.

No product is ever formed by `*`: `modulate` adds shifted copies, one for each signed radix-4
digit of the smaller factor.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, ValueCastable, signed
from amaranth.lib.data import ArrayLayout, StructLayout

DIGIT = StructLayout({"one": 1, "two": 1, "negative": 1})
"""A digit -2..2: |digit| is 1, |digit| is 2, digit below 0 (0 may come as "negative")."""

_FINE_BITS = 3

ROUND_SHIFT_CYCLES = 2
"""Registers in round_shift_window."""


def _signed(value) -> Value:
    value = Value.cast(value) if isinstance(value, ValueCastable) else value
    if value.shape().signed:
        return value
    return Cat(value, Const(0, 1)).as_signed()


def digits_layout(bits: int, signed: bool = False) -> ArrayLayout:
    """Layout of the digits of a code of `bits` bits: what `recode` gives."""
    return ArrayLayout(DIGIT, (bits + (not signed) + 1) // 2)


def recode(code) -> Value:
    """The signed radix-4 digits of `code`, least significant first (bits of a digits_layout)."""
    code = _signed(code)
    bits = len(code)
    digits = []
    for k in range(0, bits, 2):
        below = code[k - 1] if k else Const(0, 1)
        low = code[k]
        high = code[k + 1] if k + 1 < bits else code[bits - 1]
        one = low ^ below
        two = (high & ~low & ~below) | (~high & low & below)
        digits.append(Cat(one, two, high))
    return Cat(*digits)


def modulate_digits(value, digits, bits: int) -> Value:
    """value * code for the digits of a code of `bits` bits, signed, of len(value) + bits bits.

    One adder less than there are digits: a negative digit adds the complement, and the one that
    this lacks sits in the bits that the next digit's copy leaves free.
    """
    value = _signed(value)
    width = len(value) + bits
    digits = Value.cast(digits)
    total, borrow = None, None
    for index in range(len(digits) // 3):
        one, two, negative = digits[3 * index : 3 * index + 3]
        size = Mux(two, value << 1, Mux(one, value, 0))[: len(value) + 1].as_signed()
        term = size ^ negative.replicate(len(size)).as_signed()
        if borrow is not None:
            below = Const(0, 2 * index - 2)
            term = Cat(below, borrow, Const(0, 1), term).as_signed()
        total = term if total is None else total + term
        borrow = negative
    total = total + (borrow << (2 * index))
    return total[:width].as_signed()


def modulate(value, code) -> Value:
    """value * code as a sum of shifted copies of `value`; both may be signed or unsigned.

    The result is signed and wide enough for every input. Cost: ceil(bits(code) / 2) adders.
    """
    code = _signed(code)
    return modulate_digits(value, recode(code), len(code))


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


def round_shift_window(m: Module, doubled, amount, bits: int, active=1) -> Value:
    """doubled * 2**-(amount + 1) rounded half up, ROUND_SHIFT_CYCLES later, wide enough to saturate
    to `bits` bits (whatever does not fit comes as something that does not fit); 0 in the cycle
    after one without `active`.

    First by a multiple of 8, of which a window of the low bits remains, then by the rest.
    """
    # A value that does not fit the window, with the bit below its sign made to differ from it,
    # exceeds the format after any fine shift and the rounding.
    window_bits = bits + 1 + (1 << _FINE_BITS)
    amount = Value.cast(amount)
    coarse, sign = amount[_FINE_BITS:], doubled[-1]
    beyond = Const(0, 1)
    for k in range(1 << len(coarse)):
        group = doubled[window_bits - 1 + (k << _FINE_BITS) :][: 1 << _FINE_BITS]
        if len(group):
            beyond = beyond | ((coarse <= k) & Mux(sign, ~group.all(), group.any()))
    low = (doubled >> Cat(Const(0, _FINE_BITS), coarse))[: window_bits - 1]
    window = Signal(signed(window_bits), reset_less=True)
    fine = Signal(_FINE_BITS, reset_less=True)
    rounded = Signal(signed(window_bits), reset_less=True)
    m.d.sync += [
        window.eq(Cat(low[:-1], Mux(beyond, ~sign, low[-1]), sign)),
        fine.eq(amount),
        rounded.eq(Mux(active, ((window >> fine) + 1) >> 1, 0)),
    ]
    return rounded


def saturate(value, bits: int) -> tuple[Value, Value]:
    """(value clipped to +-(2**(bits-1) - 1), whether it was clipped)."""
    value = _signed(value)
    if len(value) < bits:
        return value, Const(0, 1)
    over, least = beyond(value, bits)
    return clip(Cat(value[: bits - 1], value[-1]), over, least), over | least


def beyond(value: Value, bits: int) -> tuple[Value, Value]:
    """Whether a signed value of `bits` bits or more is to be clipped: (it does not fit, it may be
    the number -2**(bits - 1), which has no counterpart).

    The second is a long comparison, which clip() lets change the lowest bit only.
    """
    top, rest = value[bits - 1 :], value[: bits - 1]
    return top.any() & ~top.all(), value[-1] & ~rest.any()


def clip(value: Value, over: Value, least: Value) -> Value:
    """Low bits and sign of a value, clipped as beyond() tells."""
    middle = Mux(over, (~value[-1]).replicate(len(value) - 2), value[1:-1])
    return Cat(value[0] | over | least, middle, value[-1]).as_signed()


def absolute(value) -> Value:
    """|value| as an unsigned value of the same width; exact for the symmetric range."""
    value = _signed(value)
    return Mux(value < 0, -value, value)[: len(value)].as_unsigned()


def bit_length(value) -> Value:
    """Bits needed for an unsigned value, 0 for 0."""
    return highest_bit(Cat(Const(1, 1), value))


def highest_bit(value) -> Value:
    """The index of the highest bit that is set, 0 without one: a priority encoder, by halves."""
    value = Value.cast(value)
    bits = (len(value) - 1).bit_length()
    if bits == 0:
        return Const(0, 0)
    lower, upper = value[: 1 << bits - 1], value[1 << bits - 1 :]
    above = Cat(highest_bit(upper), Const(0, bits))[: bits - 1]
    return Cat(Mux(upper.any(), above, highest_bit(lower)), upper.any())
