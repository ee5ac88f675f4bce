"""Function tables on the loader's bus."""

from dataclasses import fields

import numpy as np
from cocotb.triggers import RisingEdge

from golden.units.functions import Tables
from isa.packets import Space


def table_words(tables: Tables) -> dict[Space, list[int]]:
    """The link words of every table, as an image carries them."""

    def lines(base: np.ndarray, slope: np.ndarray, base_bits: int) -> list[int]:
        low = (1 << base_bits) - 1
        return [
            (int(b) & low) | (int(s) & 0xFF) << base_bits for b, s in zip(base, slope, strict=True)
        ]

    return {
        Space.EXP2: lines(tables.exp2_base, tables.exp2_slope, 16),
        Space.SILU: lines(tables.silu_base, tables.silu_slope, 24),
        Space.RSQRT: [int(v) for v in tables.rsqrt],
        Space.RECIPROCAL: [int(v) for v in tables.reciprocal],
    }


async def load_tables(dut, tables: Tables) -> None:
    """Writes all tables through the port `tables` of the unit."""
    for space, words in table_words(tables).items():
        for address, word in enumerate(words):
            await RisingEdge(dut.clk)
            dut.tables__enable.value = 1
            dut.tables__space.value = int(space)
            dut.tables__address.value = address
            dut.tables__data.value = word
    await RisingEdge(dut.clk)
    dut.tables__enable.value = 0
    await RisingEdge(dut.clk)


def random_tables(rng: np.random.Generator) -> Tables:
    """Tables full of noise, within the formats: what a unit adds up shows."""
    slopes = {"low": -127, "high": 128}
    tables = Tables(
        exp2_base=rng.integers(1000, 1 << 16, 32),
        exp2_slope=rng.integers(size=32, **slopes),
        silu_base=rng.integers(-(1 << 22), 1 << 22, 64),
        silu_slope=rng.integers(size=64, **slopes),
        rsqrt=rng.integers(0, 256, 256),
        reciprocal=rng.integers(0, 256, 128),
    )
    assert all(getattr(tables, f.name).dtype == np.int64 for f in fields(tables))
    return tables
