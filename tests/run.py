"""The test command behind `./test`: lints, runs pytest, says what it cost.

    ./test                    what must stay true, on every change
    ./test --quick UNIT       one unit in half a minute (`./test --quick` lists the units)
    ./test --extras           what needs synthesis, a large simulator, an extra or a program
    ./test --versions         against the oldest and the newest transformers, each in its own place
    ./test --raise-constraints    raises constraints.txt to the newest versions, runs the tests
    ./test --all              everything, the slow tests included (about an hour)
    ./test tests/units -k post    other arguments go to pytest, with the options of `./test`

The last line gives wall-clock and processor seconds, since machines are shared.
"""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.quick import QUICK

ROOT = Path(__file__).resolve().parents[1]
# One simulation uses one core, so as many tests at once as there are; files stay together, so that
# what a file's tests share is built once.
PARALLEL = ("-n", "auto", "--maxprocesses", "4", "--dist", "worksteal")
MARKERS = {
    "--extras": ["-m", "extra and not slow"],
    "--versions": ["-m", "versions", "tests/test_versions.py"],
    "--all": ["-m", ""],
}


def arguments_of(words: Sequence[str]) -> tuple[list[str], bool]:
    """pytest's arguments, and whether to lint first, for the words behind `./test`.

    Raises:
        ValueError: one line that says what is wrong.
    """
    if not words or words[0] not in (*MARKERS, "--quick"):
        return [*PARALLEL, *words], not words
    if words[0] != "--quick":
        return [*PARALLEL, *MARKERS[words[0]], *words[1:]], words[0] == "--all"
    units = ", ".join(QUICK)
    if len(words) < 2:
        raise ValueError(f"./test --quick UNIT, where UNIT is one of {units}")
    if words[1] not in QUICK:
        raise ValueError(f"no quick test is called {words[1]}: use one of {units}")
    return ["-n", "2", "--durations", "3", *QUICK[words[1]], *words[2:]], False


def test_environment() -> dict[str, str]:
    """The environment of the tests, made of ours.

    PyTorch's threads must not spin, as simulations run beside them. Simulators run for seconds
    only, so they are compiled quickly. Bytecode is kept, also where the environment says otherwise
    (containers often do): hundreds of processes import the same libraries, and without it each of
    them compiles their sources. It lies in the folder of this Python's environment, not beside the
    sources.
    """
    environment = {"SPIKELET_OPTIMISE": "-O1", **os.environ, "OMP_WAIT_POLICY": "passive",
                   "PYTHONPYCACHEPREFIX": str(Path(sys.prefix) / "bytecode")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


def processor_seconds() -> float:
    """What this process and all that it waited for has used of the processors."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def main(words: Sequence[str]) -> int:
    """Runs lint and tests; the exit code is pytest's, or the linter's where it finds something."""
    started = time.monotonic()
    if words[:1] in (["--help"], ["-h"]):
        print(__doc__)
        return 0
    try:
        arguments, lint = arguments_of(words)
    except ValueError as error:
        print(f"test: {error}", file=sys.stderr)
        return 2
    programs = Path(sys.executable).parent
    if words[:1] == ["--raise-constraints"]:
        command = [sys.executable, "-m", "tests.raise_constraints", *words[1:]]
        return subprocess.run(command, cwd=ROOT, check=False).returncode
    environment = test_environment()
    commands: list[list[str | Path]] = [[programs / "ruff", "check", "."]] if lint else []
    commands.append([programs / "pytest", *arguments])
    code = 0
    for command in commands:
        code = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
        if code:
            break
    print(f"{time.monotonic() - started:.0f} s, {processor_seconds():.0f} processor seconds")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
