"""What synthesis does not find by itself on an ECP5, each with a twin in plain Amaranth.

`elaborate` hands its `platform` on: an ECP5 platform takes the cells, any other (None: simulation,
other families) the twin. Cells: Lattice FPGA-TN-02200 and the models of Yosys (ecp5/cells_sim.v).
"""

from collections.abc import Callable, Sequence
from functools import reduce
from operator import or_

from amaranth.hdl import Array, Cat, Const, Instance, Module, Signal, Value

BitFunction = Callable


class Target:
    """A platform for `amaranth.back.rtlil.convert`: ECP5 cells without a board."""

    family = "ecp5"


def is_ecp5(platform) -> bool:
    """Whether `platform` builds for an ECP5."""
    return getattr(platform, "family", None) == "ecp5"


def global_net(m: Module, platform, value) -> Value:
    """One bit on one of the part's clock networks, whose wires go to every reset input.

    A reset of thousands of flip-flops takes none of the wires that signals compete for. Costs a
    few nanoseconds: from a register to flip-flops, there is time for nothing else. At most seven
    of a design may be given one.
    """
    if not is_ecp5(platform):
        return value
    everywhere = Signal()
    m.submodules += Instance("DCCA", i_CLKI=value, o_CLKO=everywhere)  # always enabled
    return everywhere


def choose(b, c, d):
    """An operand for `carry_sum`: c where b is set, else d."""
    return (b & c) | (~b & d)


def carry_sum(m: Module, platform, a, operand: BitFunction, b, c, d, carry=0) -> Value:
    """a + operand(b, c, d) + carry, modulo 2**len(a), in one carry chain: a look-up table a bit.

    operand works bit by bit, on Values (the twin) as on integers (the cells); what it gives for
    c = d = 0 must be 0, as the cell's other table then serves the carry. b, c, d are as wide as a.
    """
    a, b, c, d = (Value.cast(v) for v in (a, b, c, d))
    bits = len(a)
    if {len(b), len(c), len(d)} != {bits}:
        raise ValueError(f"operands of {len(b)}, {len(c)} and {len(d)} bits for {bits}")
    if any(operand(x, 0, 0) & 1 for x in (0, 1)):
        raise ValueError("operand(b, 0, 0) is not 0")
    if not is_ecp5(platform):
        return (a.as_unsigned() + operand(b, c, d).as_unsigned() + carry)[:bits]
    table = sum(
        ((x ^ operand(y, z, w)) & 1) << (x | y << 1 | z << 2 | w << 3)
        for x in (0, 1) for y in (0, 1) for z in (0, 1) for w in (0, 1)
    )  # fmt: skip
    return _carry_chain(m, table, a, b, c, d, carry)


def masked_sum(m: Module, platform, a, b, c, d) -> Value:
    """(a & b) + (c & d), modulo 2**len(a), in one carry chain; all four are equally wide."""
    a, b, c, d = (Value.cast(v) for v in (a, b, c, d))
    bits = len(a)
    if {len(b), len(c), len(d)} != {bits}:
        raise ValueError(f"operands of {len(b)}, {len(c)} and {len(d)} bits for {bits}")
    if not is_ecp5(platform):
        return ((a & b).as_unsigned() + (c & d).as_unsigned())[:bits]
    # Where both are equal, a & b is the carry: what the table gives for c = d = 0.
    table = sum(
        ((x & y) ^ (z & w)) << (x | y << 1 | z << 2 | w << 3)
        for x in (0, 1) for y in (0, 1) for z in (0, 1) for w in (0, 1)
    )  # fmt: skip
    return _carry_chain(m, table, a, b, c, d, 0)


def _carry_chain(m: Module, table: int, a: Value, b: Value, c: Value, d: Value, carry) -> Value:
    """A sum in CCU2C cells whose look-up tables are `table`."""
    bits = len(a)
    pairs = -(-bits // 2)
    carries = [Value.cast(carry)[0], *(Signal(name=f"carry_{k}") for k in range(pairs))]
    total = Signal(2 * pairs, name="carry_total")
    # Signals: Amaranth goes through the whole of a value for each bit that is taken from it.
    inputs = [Signal(2 * pairs, name=f"carry_{name}") for name in "abcd"]
    for signal, value in zip(inputs, (a, b, c, d), strict=True):
        m.d.comb += signal.eq(value.as_unsigned())
    for k in range(pairs):
        ports = {
            f"i_{name}{half}": value[2 * k + half]
            for name, value in zip("ABCD", inputs, strict=True)
            for half in (0, 1)
        }
        m.submodules += Instance(
            "CCU2C", p_INIT0=Const(table, 16), p_INIT1=Const(table, 16), p_INJECT1_0="NO",
            p_INJECT1_1="NO", i_CIN=carries[k], o_S0=total[2 * k], o_S1=total[2 * k + 1],
            o_COUT=carries[k + 1], **ports,
        )  # fmt: skip
    return total[:bits]


_OR = 0xFFFE  # the look-up table a | b | c | d


def either(m: Module, platform, words: Sequence[Value]) -> Value:
    """The OR of equally wide words, in tables that stay whole: one a bit for up to four words.

    For a result with several readers: synthesis may take an OR apart and give each reader tables
    of its own for it. The result is unsigned.
    """
    words = [Value.cast(w) for w in words]
    bits = len(words[0])
    if {len(w) for w in words} != {bits}:
        raise ValueError("either takes equally wide words")
    if len(words) == 1 or not is_ecp5(platform):
        return reduce(or_, (w.as_unsigned() for w in words))
    if len(words) > 4:
        return either(m, platform, [*words[4:], either(m, platform, words[:4])])
    joined = Signal(bits, name="joined")
    for k in range(bits):
        inputs = [*(w[k] for w in words), *(Const(0, 1) for _ in range(4 - len(words)))]
        ports = {f"i_{name}": value for name, value in zip("ABCD", inputs, strict=True)}
        m.submodules += Instance("LUT4", p_INIT=Const(_OR, 16), o_Z=joined[k], **ports)
    return joined


_SELECT = 0xCACA  # the look-up table c ? b : a, whatever d
_WIDE = 8


def select(m: Module, platform, words: Sequence[Value], index) -> Value:
    """words[index] for a power of two of equally wide words; eight of them cost four tables a bit.

    Bits of index above what words need are ignored; the result is unsigned.
    """
    words = [Value.cast(w) for w in words]
    index = Value.cast(index)
    count, bits = len(words), len(words[0])
    if count & (count - 1) or {len(w) for w in words} != {bits}:
        raise ValueError("select takes a power of two of equally wide words")
    if count == 1:
        return words[0].as_unsigned()
    if not is_ecp5(platform) or count % _WIDE:
        return Array(w.as_unsigned() for w in words)[index[: (count - 1).bit_length()]]
    groups = [
        Cat(_select_8(m, [w[bit] for w in words[first : first + _WIDE]], index)
            for bit in range(bits))
        for first in range(0, count, _WIDE)
    ]  # fmt: skip
    return select(m, platform, groups, index[3:])


def _select_8(m: Module, inputs: list[Value], index: Value) -> Value:
    """Four tables, two PFUMX and one L6MUX21: what the slices of one tile hold side by side."""
    pairs = [Signal(name=f"pair_{k}") for k in range(4)]
    fours = [Signal(name=f"four_{k}") for k in range(2)]
    chosen = Signal(name="chosen")
    for k, pair in enumerate(pairs):
        m.submodules += Instance(
            "LUT4", p_INIT=Const(_SELECT, 16), i_A=inputs[2 * k], i_B=inputs[2 * k + 1],
            i_C=index[0], i_D=Const(0, 1), o_Z=pair,
        )  # fmt: skip
    for k, four in enumerate(fours):
        m.submodules += Instance(
            "PFUMX", i_ALUT=pairs[2 * k + 1], i_BLUT=pairs[2 * k], i_C0=index[1], o_Z=four
        )
    m.submodules += Instance("L6MUX21", i_D0=fours[0], i_D1=fours[1], i_SD=index[2], o_Z=chosen)
    return chosen
