"""Plain Python values to and from the bits of an Amaranth shape."""

from collections.abc import Mapping
from typing import Any

from amaranth.hdl import Shape
from amaranth.lib import data


def width_of(shape: Any) -> int:
    """Bits of a shape or layout."""
    return Shape.cast(shape).width


def pack(shape: Any, value: Any) -> int:
    """The bits of `value`: an integer, a mapping (struct), a sequence (array) or a constant.

    `shape` is whatever Amaranth accepts as one; None passes non-negative integers on as raw bits.
    Raises ValueError for an integer out of range, KeyError for a field the struct does not have.
    """
    if hasattr(value, "as_bits"):
        return value.as_bits()
    if shape is None:
        return _checked(int(value), 0, None)
    layout = _layout(shape)
    if layout is None or isinstance(value, int):
        plain = Shape.cast(shape)
        low, high = 0, 1 << plain.width
        if plain.signed and layout is None:
            low, high = -(high >> 1), high >> 1
        return _checked(int(value), low, high) & ((1 << plain.width) - 1)
    bits = 0
    for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
        field = layout[key]
        bits |= pack(field.shape, item) << field.offset
    return bits


def unpack(shape: Any, bits: int) -> Any:
    """Inverse of `pack`: an integer, a dict (struct) or a list (array) of such."""
    if shape is None:
        return bits
    layout = _layout(shape)
    if layout is None:
        plain = Shape.cast(shape)
        bits &= (1 << plain.width) - 1
        return bits - (1 << plain.width) if plain.signed and bits >> (plain.width - 1) else bits
    fields = {key: unpack(field.shape, bits >> field.offset) for key, field in layout}
    return list(fields.values()) if isinstance(layout, data.ArrayLayout) else fields


def _layout(shape: Any) -> data.Layout | None:
    try:
        return data.Layout.cast(shape)
    except TypeError:
        return None


def _checked(value: int, low: int, high: int | None) -> int:
    if value < low or (high is not None and value >= high):
        limit = "" if high is None else f" to {high - 1}"
        raise ValueError(f"{value} is not in the range {low}{limit}")
    return value
