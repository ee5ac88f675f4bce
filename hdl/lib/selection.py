"""Choices that cost one level of look-up tables: an OR of words of which all but one are 0."""

from functools import reduce
from operator import or_

from amaranth.hdl import Value


def gated(word, enable) -> Value:
    """`word` where `enable` is set, else 0; unsigned."""
    word = Value.cast(word)
    return word.as_unsigned() & Value.cast(enable).replicate(len(word))


def or_mux(*words) -> Value:
    """The word of the one source that is not idle; unsigned.

    Idle sources drive 0, which is theirs to see to (`gated`, or a register that clears). There is
    no index to decode, so the choice may be made long before the words come.
    """
    return reduce(or_, (Value.cast(word).as_unsigned() for word in words))
