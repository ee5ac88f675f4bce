"""Encoder against golden.units.fixed.encode."""

import pytest

from hdl.units.fire.encoder import Encoder
from tests.cocotb_support import run_cocotb
from tests.units.devices import device


@pytest.mark.parametrize("name", ["tiny", "wide", "pair"])
def test_encoder(name):
    run_cocotb(Encoder(device(name)), "tests.units.bench_encoder", f"encoder_{name}",
               {"name": name})  # fmt: skip
