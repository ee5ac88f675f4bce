"""The bit length of a value in two parts, for a register between them.

First, for groups of four bits: is one set, and which is the highest. Then: the highest group.
"""

from amaranth.hdl import Cat, Const, Mux, Value
from amaranth.lib.data import StructLayout


def groups_of_four(value: Value) -> Value:
    """Which groups of bits are not 0, for bit_length: bits 0..2, 3..6, 7..10 and so on."""
    return Cat(group.any() for group in _groups(value))


def places_of_four(value: Value) -> Value:
    """The number of the highest bit that is set in each of these groups: two bits for each."""
    return Cat(
        bit
        for group in _groups(value)
        for bit in (group[3:].any() | (group[1:2].any() & ~group[2:3].any()), group[2:].any())
    )


def grouped_layout(bits: int) -> StructLayout:
    """What bit_length needs of an unsigned value of so many bits."""
    groups = bits // 4 + 1
    return StructLayout({"found": groups, "places": 2 * groups})


def grouped(value: Value) -> Value:
    """groups_of_four and places_of_four, as grouped_layout has them."""
    return Cat(groups_of_four(value), places_of_four(value))


def bit_length(found: Value, places: Value) -> Value:
    """Bits needed for an unsigned value, 0 for 0, from its groups_of_four and places_of_four.

    A tree of choices finds the highest group that is not 0.
    """

    def top(groups: list[int]) -> tuple[Value, list[Value]]:
        if len(groups) == 1:
            (k,) = groups
            return found[k], [places[2 * k], places[2 * k + 1]]
        half = 1 << (len(groups) - 1).bit_length() - 1
        low, low_index = top(groups[:half])
        high, high_index = top(groups[half:])
        high_index += [Const(0, 1)] * (len(low_index) - len(high_index))
        pairs = zip(high_index, low_index, strict=True)
        return low | high, [*(Mux(high, above, below) for above, below in pairs), high]

    return Cat(top(list(range(len(found))))[1])


def _groups(value: Value) -> list[Value]:
    value = Cat(Const(0, 1), value)  # bit k is set: length k, or more
    return [value[i : i + 4] for i in range(0, len(value), 4)]
