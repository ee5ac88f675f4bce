"""Router: every spike arrives once, at its core, in order, under any stalls."""

import pytest

from hdl.units.fire.router import Router
from tests.cocotb_support import run_cocotb
from tests.units.devices import DEVICES, device


@pytest.mark.parametrize("name", DEVICES)
def test_router(name):
    run_cocotb(Router(device(name)), "tests.units.bench_router", f"router_{name}",
               {"name": name})  # fmt: skip
