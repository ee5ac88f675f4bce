"""python -m tests.raise_constraints [TESTS]: the newest versions that are allowed, and the tests.

Installs the project with its tests in a fresh environment, without constraints.txt; writes what
came to constraints.txt; runs ./test, which installs exactly that, with the arguments given.
"""

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
HEADER = """\
# What the tests have run with: versions that ./test and README's first command install, as
#     python -m tests.raise_constraints
# writes them. pyproject.toml has the ranges.
"""


def pinned(frozen: str) -> str:
    """constraints.txt of what `pip freeze` says; builds of one version (torch +cpu) are one."""
    lines = sorted((line.partition("+")[0] for line in frozen.splitlines()),
                   key=lambda line: line.partition("==")[0].lower())
    wrong = [line for line in lines if line.count("==") != 1 or " " in line]
    if wrong:
        raise SystemExit(f"not a version of a package index: {', '.join(wrong)}")
    return HEADER + "".join(f"{line}\n" for line in lines)


def main(arguments: list[str]) -> int:
    """The exit status of ./test."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        pip = [f"{folder}/bin/python", "-m", "pip", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "--quiet", "--editable", f"{ROOT}[test]"], check=True)
        # All: setuptools too, which PyTorch needs and pip leaves out.
        frozen = subprocess.run([*pip, "freeze", "--all", "--exclude-editable", "--exclude", "pip"],
                                check=True, capture_output=True, text=True).stdout
    before = set(CONSTRAINTS.read_text().splitlines()) if CONSTRAINTS.exists() else set()
    CONSTRAINTS.write_text(pinned(frozen))
    raised = [line for line in CONSTRAINTS.read_text().splitlines() if line not in before]
    print(f"{CONSTRAINTS.name}: {', '.join(raised) or 'nothing newer'}", flush=True)
    return subprocess.run([ROOT / "test", *arguments]).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
