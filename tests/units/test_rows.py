"""Row memory against plain arrays, banked and in one piece."""

from dataclasses import replace

import pytest

from hdl.memory.rows import ECP5_BANK_ROWS, RowMemory
from tests.cocotb_support import run_cocotb
from tests.units.devices import device


@pytest.mark.parametrize(
    "name, depth, bank_rows",
    [
        ("tiny", 1024, None), ("tiny", 1024, 1024), ("tiny", 4608, None),
        ("wide", 640, ECP5_BANK_ROWS), ("wide", 640, 128), ("lone", 96, None),
        ("pair", 96, None),
    ],
)  # fmt: skip
def test_rows(name, depth, bank_rows):
    memory = RowMemory(replace(device(name), row_depth=depth), bank_rows)
    run_cocotb(memory, "tests.units.bench_rows", f"rows_{name}_{depth}_{bank_rows or 0}",
               {"name": name, "depth": depth})  # fmt: skip
