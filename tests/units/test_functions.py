"""Function neurons and the parts of products against golden and plain integers."""


import cocotb
import numpy as np
import pytest
from amaranth.hdl import Cat, Module, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from cocotb.triggers import ClockCycles, RisingEdge

from golden.units.fixed import bit_length as golden_bit_length
from golden.units.functions import (
    Tables,
    default_tables,
    exp2_negative,
    reciprocal,
    rsqrt,
    silu,
)
from hdl.lib.bit_groups import bit_length, groups_of_four, places_of_four
from hdl.lib.shapes import SCALAR_EXPONENT_BITS
from hdl.units.vector.functions import EXP2_ARGUMENT_BITS, Exp2, Inverse, Silu
from hdl.units.vector.radix4 import Products, add_rows, digits
from isa.formats import SILU_FRACTION, VECTOR
from tests.cocotb_support import generator, pack, parameters, run_cocotb, start, unpack
from tests.units.tables import load_tables, random_tables

LANES = 8
LATENCY = {
    "exp2": Exp2.LATENCY, "silu": Silu.LATENCY, "reciprocal": Inverse.LATENCY,
    "rsqrt": Inverse.LATENCY, "parts": 0,
}  # fmt: skip


class Parts(wiring.Component):
    """hdl.units.vector.radix4, one function an output."""

    value: In(signed(13))
    code: In(signed(8))
    size: In(unsigned(7))
    negate: In(1)
    up: In(1)
    signed_product: Out(signed(21))
    unsigned_product: Out(signed(21))
    length: Out(4)

    def elaborate(self, platform):
        m = Module()
        unused = Signal()  # gives the simulator a clock
        m.d.sync += unused.eq(~unused)
        parts = digits(self.code)
        low, total = add_rows(m, platform, self.value, parts[:2])
        more, total = add_rows(
            m, platform, self.value, parts[2:], Cat(total, total[-1].replicate(2))
        )
        whole = add_rows(m, platform, self.value, digits(self.size, self.negate, self.up))
        magnitude = self.value.as_unsigned()[:12]
        m.d.comb += [
            self.signed_product.eq(Cat(low, more, total).as_signed()),
            self.unsigned_product.eq(Cat(*whole).as_signed()),
            self.length.eq(
                bit_length(groups_of_four(magnitude), places_of_four(magnitude))
            ),
        ]
        return m


class SiluAndProducts(wiring.Component):
    """Silu with the multiplication that it shares in the vector unit."""

    def __init__(self, block: bool):
        self._block = block
        members = Silu(LANES).signature.members
        super().__init__({n: members[n] for n in ("argument", "widen", "value", "tables")})

    def elaborate(self, platform):
        m = Module()
        m.submodules.silu = inner = Silu(LANES, block=self._block)
        m.submodules.products = products = Products(LANES)
        wiring.connect(m, wiring.flipped(self.tables), inner.tables)
        m.d.comb += [inner.widen.eq(self.widen), inner.active.eq(1)]
        for lane in range(LANES):
            m.d.comb += [
                inner.argument[lane].eq(self.argument[lane]),
                products.value[lane].eq(inner.delta[lane]),
                products.code[lane].eq(inner.slope[lane]),
                inner.product[lane].eq(products.product[lane]),
                self.value[lane].eq(inner.value[lane]),
            ]
        return m


@pytest.mark.parametrize(
    "name, block", [*((name, False) for name in LATENCY), ("exp2", True), ("silu", True)]
)
def test_function(name, block):
    component = {
        "exp2": lambda: Exp2(LANES, block=block),
        "silu": lambda: SiluAndProducts(block),
        "reciprocal": lambda: Inverse(),
        "rsqrt": lambda: Inverse(root=True),
        "parts": Parts,
    }[name]()
    run_cocotb(component, __name__, f"function_{name}" + "_block" * block, {"name": name},
               testcase=f"check_{name}")  # fmt: skip


def tables_to_try() -> list[Tables]:
    rng = np.random.default_rng(generator("tables").getrandbits(32))
    return [default_tables(), random_tables(rng)]


async def outputs(dut, shape, arguments) -> np.ndarray:
    """What the lanes answer to a list of arguments, LANES of them in every cycle."""
    latency = LATENCY[parameters()["name"]]
    padded = [*arguments, *[0] * (-len(arguments) % LANES)]
    inputs = [getattr(dut, f"argument__{lane}") for lane in range(LANES)]
    values = [getattr(dut, f"value__{lane}") for lane in range(LANES)]
    results: list[int] = []
    cycles = len(padded) // LANES
    for cycle in range(cycles + latency + 1):
        if cycle < cycles:
            for lane, port in enumerate(inputs):
                port.value = pack(shape, int(padded[cycle * LANES + lane]))
        await RisingEdge(dut.clk)  # ports read here were settled by what was set before
        if cycle >= latency:
            results += [unpack(signed(VECTOR.bits), int(port.value)) for port in values]
    return np.array(results[: len(arguments)])


def check(what: str, arguments: np.ndarray, got: np.ndarray, expected: np.ndarray) -> None:
    wrong = np.flatnonzero(got != expected)
    assert not len(wrong), (
        f"{what}({arguments[wrong[0]]}): expected {expected[wrong[0]]}, got {got[wrong[0]]}; "
        f"{len(wrong)} of {len(got)} differ"
    )


@cocotb.test()
async def check_exp2(dut):
    await start(dut)
    rng = generator("exp2")
    whole_range = list(range(33 << 8))
    beyond = [rng.getrandbits(rng.randint(13, EXP2_ARGUMENT_BITS)) for _ in range(2000)]
    arguments = np.array(whole_range + beyond + [(1 << EXP2_ARGUMENT_BITS) - 1])
    for tables in tables_to_try():
        await load_tables(dut, tables)
        got = await outputs(dut, unsigned(EXP2_ARGUMENT_BITS), arguments)
        check("exp2", arguments, got, exp2_negative(arguments, tables))


@cocotb.test()
async def check_silu(dut):
    await start(dut)
    rng = generator("silu")
    for tables in tables_to_try():
        await load_tables(dut, tables)
        for widen in (0, 3, rng.randint(4, 10), 11):
            fraction = SILU_FRACTION - widen
            edge = 8 << fraction
            step = 1 if widen else 3
            dense = list(range(-edge - 40, edge + 40, step))
            beyond = [rng.randint(-VECTOR.maximum, VECTOR.maximum) for _ in range(1000)]
            limits = [-VECTOR.maximum, VECTOR.maximum, -edge - 1, -edge, edge - 1, edge]
            arguments = np.array(dense + beyond + limits)
            dut.widen.value = widen
            await ClockCycles(dut.clk, 2)  # it is constant from two cycles before an argument
            got = await outputs(dut, signed(VECTOR.bits), arguments)
            check(f"silu, widen {widen}", arguments, got, silu(arguments, fraction, tables))


async def inverse(dut, function, name: str) -> None:
    await start(dut)
    rng = generator(name)
    values = list(range(1100))
    for bits in range(33):
        values += [(1 << bits) - 1, max((1 << bits) - 2, 0), min(1 << bits, (1 << 32) - 1)]
        values += [rng.getrandbits(bits) if bits else 0 for _ in range(100)]
    arguments = np.array(values)
    for tables in tables_to_try():
        await load_tables(dut, tables)
        got: list[tuple[int, int]] = []
        for cycle in range(len(values) + LATENCY[name]):
            dut.value.value = values[min(cycle, len(values) - 1)]
            await RisingEdge(dut.clk)
            if cycle >= LATENCY[name]:
                exponent = unpack(signed(SCALAR_EXPONENT_BITS), int(dut.exponent.value))
                got.append((int(dut.mantissa.value), exponent))
        mantissa, exponent = function(arguments, tables)
        check(f"{name}, mantissa", arguments, np.array([g[0] for g in got]), mantissa)
        check(f"{name}, exponent", arguments, np.array([g[1] for g in got]), exponent)


@cocotb.test()
async def check_reciprocal(dut):
    await inverse(dut, reciprocal, "reciprocal")


@cocotb.test()
async def check_rsqrt(dut):
    await inverse(dut, rsqrt, "rsqrt")


@cocotb.test()
async def check_parts(dut):
    await start(dut)
    rng = generator("parts")
    top = (1 << 12) - 1
    for code in range(-128, 128):
        for value in (top, -top - 1, 0, 1, -1, *(rng.randint(-top, top) for _ in range(12))):
            size = code & 127
            negate, up = rng.getrandbits(1), rng.getrandbits(1)
            dut.code.value, dut.value.value, dut.size.value = code, value, size
            dut.negate.value, dut.up.value = negate, up
            await RisingEdge(dut.clk)
            assert dut.signed_product.value.to_signed() == value * code, (value, code)
            expected = value * (size + up) * (-1 if negate else 1)
            assert dut.unsigned_product.value.to_signed() == expected, (value, size, negate)
            assert int(dut.length.value) == golden_bit_length(value & 0xFFF), value
