"""What each operation of VECTOR does, on the golden device's memories.

A new operation is a function here, its number in isa/instructions.py and its accesses in
isa/effects.py.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from golden.device.machine import Fields, Machine, Write
from golden.units import attention, fixed, functions
from isa.access import Resource
from isa.formats import SILU_FRACTION
from isa.instructions import Operation


def _finish(x: Machine, f: Fields, parts: list[np.ndarray], segment: int, clipped: int) -> None:
    result = np.concatenate([np.zeros(0, np.int64), *parts])
    x.count("saturations", clipped)
    x.store_magnitudes(f["magnitude_out"], segment, result)
    x.store("vector", f["destination"], result)


def _vector(x: Machine, f: Fields, field: str) -> np.ndarray:
    return x.elements(f[field], f["count"] * x.c.vector_lanes)


def rotate(x: Machine, f: Fields) -> None:
    """Rotary embedding: every segment is turned by the angles of this position."""
    source = _vector(x, f, "source")
    words = min(f["segment"], f["count"]) or f["count"]
    base = x.position * x.at.setting("rotation_stride")
    turn = np.resize(x.at.read(Resource.ROTATION, base, words), source.size).astype(np.int64)
    result, clipped = attention.rotate(source, turn[0::2], turn[1::2])
    _finish(x, f, [result], f["segment"], clipped)


def silu(x: Machine, f: Fields) -> None:
    """SiLU, element by element."""
    fraction = SILU_FRACTION - x.at.setting("silu_widen")
    result = functions.silu(_vector(x, f, "source"), fraction, x.at.tables)
    _finish(x, f, [result], f["segment"], 0)


def modulate(x: Machine, f: Fields) -> None:
    """Elementwise gate: spikes of the source, coded segment by segment, gather the operand."""
    source, operand = _vector(x, f, "source"), _vector(x, f, "operand")
    shift, parts, clipped = x.at.setting("product_shift"), [], 0
    for n, at in x.segments(f):
        exponent = x.exponent(f["magnitude_in"] + n)
        part, more = attention.modulate(source[at], exponent, operand[at], shift)
        parts.append(part)
        clipped += more
    _finish(x, f, parts, f["segment"], clipped)


def weigh(unit: Callable, x: Machine, f: Fields) -> None:
    """Scores of all positions become the weights that mix values, by softmax or the gate.

    SOFTMAX's maximum register holds the scores' maximum, which is taken from them here.
    """
    n = x.position + 1
    exponents = x.at.read(Resource.VALUE_EXPONENT, f["exponent_address"], x.words(n))
    alignment = int(x.at.read(Resource.ALIGNMENT, f["alignment"])[0])
    result, mantissa, exponent = unit(
        x.elements(f["source"], n), exponents.reshape(-1)[:n], alignment, x.at.tables
    )
    x.at.write(Resource.SCALAR, f["scalar"], [(mantissa, exponent)])
    _finish(x, f, [result], 0, 0)


def _coded(x: Machine, f: Fields, exponents: Resource) -> tuple[np.ndarray, list[int]]:
    """(codes of the source, exponent of each segment), the exponents stored at this position."""
    source, codes, found = _vector(x, f, "source"), [np.zeros(0, np.int64)], []
    word, lane = divmod(x.position, x.c.vector_lanes)
    traced = []
    for n, at in x.segments(f):
        e = x.exponent(f["magnitude_in"] + n)
        address = f["exponent_address"] + n * x.at.setting("exponent_stride") + word
        x.at.write(exponents, address, [e], lane)
        codes.append(fixed.encode(source[at], e))
        found.append(e)
        traced += [e] * x.words(len(codes[-1]))
    data = np.concatenate(codes)
    if x.trace is not None:
        x.trace.append(Write("key_value", x.pc, 0, data, x.position, np.array(traced, np.int64)))
    return data, found


def store_key(x: Machine, f: Fields) -> None:
    """Keys, coded, into the lane of this position: element i into core i mod G."""
    codes, _ = _coded(x, f, Resource.KEY_EXPONENT)
    row = f["row_base"] + x.position // x.c.lanes * x.at.setting("key_stride")
    x.at.write(Resource.ROW, row, codes.reshape(-1, x.c.cores), slice(None),
               x.position % x.c.lanes)


def store_value(x: Machine, f: Fields) -> None:
    """Values, coded, into the row of this position; their largest exponent so far is kept."""
    codes, exponents = _coded(x, f, Resource.VALUE_EXPONENT)
    for n, e in enumerate(exponents):
        register = f["alignment"] + n
        if x.position:
            e = max(e, int(x.at.read(Resource.ALIGNMENT, register)[0]))
        x.at.write(Resource.ALIGNMENT, register, [e])
    lanes, core = x.c.lanes, x.position % x.c.cores
    first = f["operand"] * x.c.vector_lanes
    for lane in range(first - first % lanes, first + len(codes), lanes):
        start, end = max(lane, first), min(lane + lanes, first + len(codes))
        row = f["row_base"] + x.position // x.c.cores + lane // lanes * f["row_stride"]
        x.at.write(Resource.ROW, row, codes[None, start - first : end - first], core,
                   slice(start - lane, end - lane))


OPERATIONS: dict[int, Callable[[Machine, Fields], None]] = {
    Operation.ROTATE: rotate,
    Operation.STORE_KEY: store_key,
    Operation.STORE_VALUE: store_value,
    Operation.SOFTMAX: partial(weigh, attention.softmax),
    Operation.SILU: silu,
    Operation.MODULATE: modulate,
    Operation.GATE: partial(weigh, attention.gate),
}
