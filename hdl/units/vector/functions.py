"""Function neurons: piecewise approximators whose tables the image carries.

Equal to golden/units/functions.py. All are pipelines without flow control: one argument a lane
and cycle, a fixed latency, tables written over the loader's bus before they are used.
"""

import functools
import operator
from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Mux, Value, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hdl.lib.ecp5 import carry_sum
from hdl.lib.pipeline import Pipeline, Stages, delayed
from hdl.lib.shapes import SCALAR_EXPONENT_BITS, table_write
from hdl.lib.table_port import connect_tables
from hdl.memory.style import table_style
from hdl.units.vector.radix4 import Products, add_rows, digits, highest_bit, row_size
from isa.contents import EMPTY, Contents
from isa.formats import (
    EXP2_CLAMP,
    EXP2_PIECES,
    GAIN,
    RECIPROCAL_ENTRIES,
    RSQRT_ENTRIES,
    SCORE_FRACTION,
    SILU_FRACTION,
    SILU_PIECES,
    SILU_SLOPE_FRACTION,
    VECTOR,
)
from isa.packets import Space

EXP2_ARGUMENT_BITS = VECTOR.bits + 1  # the difference of two scores
EXP2_VALUE_BITS = 17  # a base of 16 bits and its slope
SUM_BITS = 32  # arguments of reciprocal and rsqrt

_SLOPE_BITS = 8
_SILU_LIMIT_BITS = SILU_FRACTION + 3  # the pieces cover -8 .. 8
SILU_DELTA_BITS = _SILU_LIMIT_BITS + 1 - (SILU_PIECES - 1).bit_length()
_WHOLE_MAXIMUM = EXP2_CLAMP >> SCORE_FRACTION
_FINE_BITS = 3  # of a shift; the rest is one of _COARSE multiples of 8
_COARSE = 1 << _WHOLE_MAXIMUM.bit_length() - _FINE_BITS


def _table(m: Module, tables, space: Space, bits: int, depth: int, addresses: Sequence[Value],
           contents: Contents, block: bool) -> list[Value]:  # fmt: skip
    """What a table that the loader's bus fills holds at each address: in the same cycle, or out of
    a `block` RAM in the next one."""
    m.submodules.table = memory = Memory(
        shape=unsigned(bits), depth=depth, attrs=table_style(block),
        init=[entry & ((1 << bits) - 1) for entry in contents.of(space)],
    )
    connect_tables(m, memory.write_port(), tables, space)
    found = []
    for address in addresses:
        port = memory.read_port(domain="sync" if block else "comb")
        m.d.comb += port.addr.eq(address)
        found.append(port.data)
    return found


def _wide(value, bits: int) -> Value:
    """The bits of a signed value, sign-extended to `bits`."""
    return Cat(value, value[-1].replicate(bits - len(value)))


class Exp2(wiring.Component):
    """2**-argument, argument in units of 2**-8 -> 15 fraction bits, LATENCY cycles later.

    Where `absent`, the value of the next cycle is 0. Arguments from 31 on count as 31. Rounds once,
    half up. Every piece's base + slope * 7 must be in 0 .. 2**17 - 1.
    """

    STAGES = Stages(
        argument=0,
        piece=1,  # base and slope out of the table
        mantissa=1,  # base + slope * delta, the fraction's part
        value=1,  # shifted by the whole part
    )
    LATENCY = STAGES.latency

    def __init__(self, lanes: int, contents: Contents = EMPTY, block: bool = False):
        self._contents, self._block = contents, block
        super().__init__(
            {
                "argument": In(unsigned(EXP2_ARGUMENT_BITS)).array(lanes),
                "absent": In(1).array(lanes),
                "value": Out(unsigned(EXP2_VALUE_BITS)).array(lanes),
                "tables": In(table_write()),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        pipeline = Pipeline(m, self.STAGES)
        base_bits = 16
        inside = SCORE_FRACTION - (EXP2_PIECES - 1).bit_length()  # fraction bits in a piece
        found = _table(
            m, self.tables, Space.EXP2, base_bits + _SLOPE_BITS, EXP2_PIECES,
            [argument[inside:SCORE_FRACTION] for argument in self.argument],
            self._contents, self._block,
        )  # fmt: skip
        for argument, absent, value, piece in zip(
            self.argument, self.absent, self.value, found, strict=True
        ):
            whole_bits = _WHOLE_MAXIMUM.bit_length()
            now = digits(argument[:inside])
            delta = [
                tuple(pipeline.carry(bit, "argument")["piece"] for bit in digit) for digit in now
            ]
            size = None  # of the first row, where the slope comes in time
            if not self._block:
                slope = _wide(piece[base_bits:], base_bits).as_signed()
                size = pipeline.carry(row_size(slope, now[0]), "argument", name="size")["piece"]
            piece = pipeline.carry(piece, "argument", after=self._block, name="piece")["piece"]
            base, slope = piece[:base_bits], piece[base_bits:].as_signed()
            # Cut at 31, whatever the fraction: a mantissa shifted by that much is 0.
            cut = argument[SCORE_FRACTION:] >= _WHOLE_MAXIMUM
            whole = Mux(cut, _WHOLE_MAXIMUM, argument[SCORE_FRACTION:])
            whole = pipeline.carry(whole[:whole_bits], "argument", name="whole")
            fine = whole["mantissa"][:_FINE_BITS]
            coarse = Cat(whole["piece"][_FINE_BITS:] == k for k in range(_COARSE))
            coarse = pipeline.carry(coarse, "piece", name="coarse")["mantissa"]
            wide = _wide(slope, base_bits).as_signed()  # a row reaches over the base
            low, high = add_rows(m, platform, wide, delta, Cat(base, Const(0, 2)), size)
            mantissa = pipeline.carry(Cat(low, high).as_signed(), "piece", name="mantissa",
                                      shape=signed(EXP2_VALUE_BITS + 1))["mantissa"]  # fmt: skip
            # It is not negative, so that the coarse shift may be an OR of what is masked.
            near = (mantissa.as_unsigned() << 1) >> fine
            shifted = [(near >> (k << _FINE_BITS)) & here.replicate(len(near))
                       for k, here in enumerate(coarse)]  # fmt: skip
            result = (functools.reduce(operator.or_, shifted) + 1) >> 1
            result = pipeline.carry(Mux(absent, 0, result), "mantissa", name="value",
                                    shape=EXP2_VALUE_BITS)  # fmt: skip
            m.d.comb += value.eq(result["value"])
        return m


class Silu(wiring.Component):
    """SiLU of vector elements whose format has 12 - widen fraction bits.

    slope and delta come at the stage `factors`, their product is wanted at `product`, and the value
    comes at `value`, behind a shifter without a register. Without `active` slope and value are 0 in
    the next cycle.

    `widen` (0..11) is constant from two cycles before the first argument on.
    """

    STAGES = Stages(
        argument=0,
        piece=1,  # base and slope out of the table
        factors=1,
        product=Products.LATENCY,  # slope * delta, multiplied outside
        value=1,  # base + product, still to be shifted
    )
    LATENCY = STAGES.latency

    def __init__(self, lanes: int, contents: Contents = EMPTY, block: bool = False):
        self._contents, self._block = contents, block
        super().__init__(
            {
                "argument": In(signed(VECTOR.bits)).array(lanes),
                "widen": In(4),
                "active": In(1),
                "slope": Out(signed(_SLOPE_BITS)).array(lanes),
                "delta": Out(unsigned(SILU_DELTA_BITS)).array(lanes),
                "product": In(signed(_SLOPE_BITS + SILU_DELTA_BITS)).array(lanes),
                "value": Out(signed(VECTOR.bits)).array(lanes),
                "tables": In(table_write()),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        pipeline = Pipeline(m, self.STAGES)
        limit_bits, inside = _SILU_LIMIT_BITS, SILU_DELTA_BITS
        widen = delayed(m, self.widen)  # the settings are far away
        # A place is the argument plus 8.
        wide = [(argument << widen)[: limit_bits + 1] for argument in self.argument]
        places = [Cat(value[:limit_bits], ~value[limit_bits]) for value in wide]
        places = [pipeline.carry(place, "argument", name="place") for place in places]
        at = "argument" if self._block else "piece"
        found = _table(
            m, self.tables, Space.SILU, VECTOR.bits + _SLOPE_BITS, SILU_PIECES,
            [place[at][inside:] for place in places], self._contents, self._block,
        )  # fmt: skip
        # Half of what is shifted out at the end.
        half = delayed(m, Cat(widen == i + 1 for i in range(SILU_FRACTION - 1)))
        above = delayed(m, Cat(widen + i >= limit_bits for i in range(VECTOR.bits)))
        for lane, (argument, place, piece) in enumerate(
            zip(self.argument, places, found, strict=True)
        ):
            sign = argument[-1]
            negative = pipeline.carry(sign, "argument", name="negative")["piece"]
            # Beyond the pieces where a bit that would be shifted out of them is not the sign.
            beyond = ((argument ^ sign.replicate(VECTOR.bits)) & above).any()
            beyond = pipeline.carry(beyond, "argument", name="beyond")
            outside = beyond["piece"]
            # Outside the pieces the table's line is replaced: 0, or the argument as it came.
            argument = pipeline.carry(argument, "argument", name="argument")["piece"]
            base = Mux(outside, Mux(negative, 0, argument), piece[: VECTOR.bits].as_signed())
            base = pipeline.carry(base, "piece", name="base", shape=signed(VECTOR.bits))
            base = base["factors"] + Mux(beyond["factors"], 0, half)
            base = pipeline.carry(base, "factors", name="base", shape=signed(VECTOR.bits + 1))
            narrow = pipeline.carry(Mux(outside, 0, widen), "piece", name="narrow")
            line = self._line(m, platform, base["product"], self.product[lane])
            line = pipeline.carry(Mux(self.active, line, 0), "product", name="line",
                                  shape=signed(VECTOR.bits + 1))["value"]  # fmt: skip
            slope = Mux(outside | ~self.active, 0, piece[VECTOR.bits :].as_signed())
            m.d.comb += [
                self.slope[lane].eq(pipeline.carry(slope, "piece", name="slope")["factors"]),
                self.delta[lane].eq(place["factors"][:inside]),
                self.value[lane].eq(line >> narrow["value"]),
            ]
        return m

    def _line(self, m: Module, platform, base: Value, rise: Value) -> Value:
        """base + rise * 2**-SILU_SLOPE_FRACTION, rounded half up, in one carry chain."""
        bits = VECTOR.bits + 1
        return carry_sum(
            m, platform, _wide(base, bits), lambda b, c, d: b & c,
            _wide(rise[SILU_SLOPE_FRACTION:].as_signed(), bits), Const((1 << bits) - 1, bits),
            Const(0, bits), rise[SILU_SLOPE_FRACTION - 1],
        ).as_signed()  # fmt: skip


class Inverse(wiring.Component):
    """1/value, or 1/sqrt(value) with `root`, as mantissa * 2**exponent; 0 counts as 1.

    value: unsigned, 32 bits. LATENCY cycles.
    """

    STAGES = Stages(
        value=0,
        top=1,  # the highest bit's number
        index=1,  # the bits behind it
        inverse=1,  # out of the table
    )
    LATENCY = STAGES.latency

    def __init__(self, root: bool = False, contents: Contents = EMPTY, block: bool = False):
        self._root, self._contents, self._block = root, contents, block
        super().__init__(
            {
                "value": In(SUM_BITS),
                "mantissa": Out(GAIN.bits),
                "exponent": Out(signed(SCALAR_EXPONENT_BITS)),
                "tables": In(table_write()),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        pipeline = Pipeline(m, self.STAGES)
        entries = RSQRT_ENTRIES if self._root else RECIPROCAL_ENTRIES
        space = Space.RSQRT if self._root else Space.RECIPROCAL
        value = pipeline.carry(self.value | (self.value == 0), "value", name="value")["top"]
        _, top = highest_bit(Cat(Const(1, 1), self.value[1:]))
        if self._root:
            top = Cat(Const(0, 1), top[1:])  # an exponent is halved
        top = pipeline.carry(top, "value", name="top")
        # the top 8 bits; the reciprocal's table leaves out the leading one
        shift = 6 if self._root else 7
        index = pipeline.carry((value << shift) >> top["top"], "top", name="index",
                               shape=range(entries))["index"]  # fmt: skip
        power = top["index"] >> 1 if self._root else top["index"]
        (mantissa,) = _table(
            m, self.tables, space, GAIN.bits, entries, [index], self._contents, self._block
        )
        mantissa = pipeline.carry(mantissa, "index", after=self._block, name="mantissa")
        m.d.comb += [
            self.mantissa.eq(mantissa["inverse"]),
            self.exponent.eq(pipeline.carry(-8 - power, "index", name="exponent")["inverse"]),
        ]
        return m
