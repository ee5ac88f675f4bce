"""Shapes that cross unit borders, made from a configuration, and the small ports units share."""

from amaranth.hdl import signed, unsigned
from amaranth.lib.data import ArrayLayout, StructLayout
from amaranth.lib.wiring import In, Out, Signature

from isa.configurations import Configuration
from isa.formats import CODE, EXPONENT, GAIN, VECTOR
from isa.registers import SETTINGS

POSITION_BITS = 16
TOKEN_BITS = 18
SCALAR_EXPONENT_BITS = 10
LINK_WEIGHTS = 4  # of a link word


def settings_layout() -> StructLayout:
    """The configuration registers as one struct; constant while a token runs."""
    shape = {False: unsigned, True: signed}
    return StructLayout({r.name: shape[r.signed](r.bits) for r in SETTINGS})


def word_layout(c: Configuration) -> ArrayLayout:
    """A vector memory word: V elements."""
    return ArrayLayout(signed(VECTOR.bits), c.vector_lanes)


def codes_layout(c: Configuration) -> ArrayLayout:
    """V spike codes, as the key/value store takes them."""
    return ArrayLayout(signed(CODE.bits), c.vector_lanes)


def exponents_layout(c: Configuration) -> ArrayLayout:
    """An exponent memory word: the exponents of V neighbouring positions."""
    return ArrayLayout(signed(EXPONENT.bits), c.vector_lanes)


def sums_layout(c: Configuration) -> ArrayLayout:
    """V accumulators, joined over the cores."""
    return ArrayLayout(signed(c.accumulator_bits), c.vector_lanes)


def parameter_layout(c: Configuration) -> ArrayLayout:
    """A parameter memory word: V times 16 bits (gain in the low byte, drop above it)."""
    return ArrayLayout(unsigned(16), c.vector_lanes)


def tile_layout() -> StructLayout:
    """What FIRE hands to POST with every gathered tile."""
    return StructLayout(
        {
            "exponent": signed(EXPONENT.bits),  # of the vector that fired
            "norm_mantissa": unsigned(GAIN.bits),
            "norm_exponent": signed(SCALAR_EXPONENT_BITS),
            "rows": unsigned(16),  # rows of the row ring to free when the tile is drained
        }
    )


def scalar_layout() -> StructLayout:
    """A scalar that modulates sums: mantissa * 2**exponent (1/rms, 1/sum)."""
    return StructLayout({"mantissa": GAIN.bits, "exponent": signed(SCALAR_EXPONENT_BITS)})


def event_layout(c: Configuration) -> StructLayout:
    """An address event at one synapse core: which row, sign and amplitude; or the tile's end."""
    return StructLayout(
        {
            "row": unsigned(20),
            "negative": unsigned(1),
            "amplitude": unsigned(3),
            "end": unsigned(1),  # no spike: the tile is complete
        }
    )


def row_write_layout(c: Configuration) -> StructLayout:
    """A write into row memory. Lanes named by `lanes` of the cores named by `cores` are written.

    spread 0: lane l of every core takes data[l mod D] (rows, values), D elements of data: V, or
    the four of a link word where V is less;
    spread 1: all lanes of core k take data[k] (keys: one dimension a core).
    """
    return StructLayout(
        {
            "address": unsigned(20),
            "cores": unsigned(c.cores),
            "lanes": unsigned(c.lanes),
            "spread": unsigned(1),
            "data": ArrayLayout(unsigned(8), max(c.vector_lanes, LINK_WEIGHTS)),
        }
    )


def read_port(address_bits: int, data) -> Signature:
    """A memory's read port as the reading unit sees it: data comes one cycle after address.

    The address is taken in every cycle; there is no enable and no back-pressure.
    """
    return Signature({"address": Out(address_bits), "data": In(data)})


def shared_read(address_bits: int, data) -> Signature:
    """A read port that others share, as the reading unit sees it: data comes one cycle after the
    cycle in which request and grant were set. An address may change while it waits."""
    return Signature(
        {"request": Out(1), "grant": In(1), "address": Out(address_bits), "data": In(data)}
    )


def register_read(address_bits: int, data) -> Signature:
    """A register file's read port as the reader sees it: data in the same cycle."""
    return Signature({"address": Out(address_bits), "data": In(data)})


def vector_write_layout(c: Configuration) -> StructLayout:
    """A write of one word into vector memory."""
    return StructLayout({"address": unsigned(16), "data": word_layout(c)})


def write_port(address_bits: int, data) -> Signature:
    """A write port as the writer sees it: taken in the cycle in which enable is set."""
    return Signature({"enable": Out(1), "address": Out(address_bits), "data": Out(data)})


def table_layout() -> StructLayout:
    """One word of the loader's broadcast: isa.packets.Space, entry, link word."""
    return StructLayout({"enable": 1, "space": 8, "address": 16, "data": 32})


def table_write() -> Signature:
    """The loader's broadcast, seen from the loader: units keep what is of their space."""
    return Signature({name: Out(field.shape) for name, field in table_layout()})
