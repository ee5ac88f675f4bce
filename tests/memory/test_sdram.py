"""The SDRAM controller against the timing-checking model of its chip."""

import pytest

from hdl.memory.sdram_timing import SDRAM_32MB
from tests.cocotb_support import run_cocotb
from tests.memory.bench_sdram import SLOW, PackedController

MEGAHERTZ = [25, 80, 133]


def run(megahertz: int, testcase: str, chip: str = SDRAM_32MB.name, **parameters) -> None:
    run_cocotb(PackedController(chip, megahertz * 1e6), "tests.memory.bench_sdram",
               f"sdram_{megahertz}", {"clock_hz": megahertz * 1e6, "chip": chip, **parameters},
               testcase=testcase)  # fmt: skip


@pytest.mark.parametrize("stalls", [(0.0, 0.0), (0.6, 0.0), (0.0, 0.6), (0.4, 0.4)])
@pytest.mark.parametrize("megahertz", MEGAHERTZ)
def test_random_bursts(megahertz: int, stalls: tuple[float, float]) -> None:
    run(megahertz, "random_bursts", stalls=stalls, bursts=120)


def test_random_bursts_on_another_chip() -> None:
    """Other sizes and times, another CAS latency: what a board of another chip would say."""
    run(80, "random_bursts", SLOW.name, stalls=(0.4, 0.4), bursts=120)


@pytest.mark.parametrize("megahertz, share", [(25, 0.97), (80, 0.98), (100, 0.98), (133, 0.98)])
def test_long_bursts_lose_only_refreshes(megahertz: int, share: float) -> None:
    run(megahertz, "streams_without_gaps", share=share)


@pytest.mark.parametrize("testcase", ["refreshes_when_idle", "flush_forgets_bursts"])
def test_between_bursts(testcase: str) -> None:
    run(80, testcase)
