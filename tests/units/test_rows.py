"""Row memory against plain arrays, banked and in one piece."""

from dataclasses import replace

import pytest

from hdl.memory.rows import RowMemory
from tests.cocotb_support import run_cocotb
from tests.units.devices import device

SHAPES = {"tiny": 1024, "wide": 640, "lone": 96, "deep": 4608}


@pytest.mark.parametrize("name", SHAPES)
def test_rows(name):
    depth = SHAPES[name]
    c = replace(device("tiny" if name == "deep" else name), row_depth=depth)
    run_cocotb(RowMemory(c), "tests.units.bench_rows", f"rows_{name}",
               {"name": "tiny" if name == "deep" else name, "depth": depth})  # fmt: skip
