"""Norm against golden.units.norm.norm_scalar."""

from hdl.units.fire.norm import Norm
from tests.cocotb_support import run_cocotb


def test_norm():
    run_cocotb(Norm(), "tests.units.bench_norm", "norm_unit")
