"""The test command itself: what its words mean, and what it says of a test that fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.quick import QUICK
from tests.run import ROOT, arguments_of, main


def test_words() -> None:
    arguments, lint = arguments_of([])
    assert lint and "-m" not in arguments
    assert arguments_of(["tests/isa", "-x"]) == ([*arguments, "tests/isa", "-x"], False)
    assert arguments_of(["--extras"])[0][-2:] == ["-m", "extra and not slow"]
    assert arguments_of(["--versions"])[0][-3:] == ["-m", "versions", "tests/test_versions.py"]
    assert arguments_of(["--all"]) == ([*arguments, "-m", ""], True)
    assert arguments_of(["--quick", "link", "-x"])[0][-len(QUICK["link"]) - 1 :] == [
        *QUICK["link"], "-x"]


def test_constraints_are_raised_by_their_own_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the words behind it, and without a run of the tests before: it runs them itself."""
    commands = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess:
        commands.append(command)
        return subprocess.CompletedProcess(command, 3)

    monkeypatch.setattr(subprocess, "run", run)
    assert main(["--raise-constraints", "tests/isa"]) == 3
    assert commands == [[sys.executable, "-m", "tests.raise_constraints", "tests/isa"]]


@pytest.mark.parametrize("words", [["--quick"], ["--quick", "nothing"]])
def test_an_unknown_unit_is_one_line(words: list[str], capsys: pytest.CaptureFixture) -> None:
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "neuron, " in said


def test_every_quick_unit_selects_tests() -> None:
    """The files exist, and a selection by name leaves some of their tests."""
    for unit, arguments in QUICK.items():
        files = [argument for argument in arguments if argument.startswith("tests/")]
        assert files and all((ROOT / file).exists() for file in files), unit
    selected = {unit: a for unit, a in QUICK.items() if "-k" in a}
    files = {word for a in selected.values() for word in a if word.startswith("tests/")}
    run = pytest_in(ROOT, "--collect-only", *sorted(files))
    for unit, arguments in selected.items():
        choices = arguments[arguments.index("-k") + 1].split(" or ")
        found = [line for line in run.stdout.splitlines() if line.split("::")[0] in arguments
                 and any(all(word in line for word in c.split(" and ")) for c in choices)]
        assert found, f"{unit} selects nothing:\n{run.stdout[-2000:]}"


def pytest_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SPIKELET_SEED": "7"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True,
                          check=False)


def test_a_failure_says_how_to_repeat_it(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("from tests.conftest import *\n")
    (tmp_path / "test_x.py").write_text(
        "import pytest\n"
        "@pytest.mark.parametrize('n', [1, 2])\n"
        "def test_odd(n):\n    assert n % 2\n")
    run = pytest_in(tmp_path, "-n", "1", "test_x.py")
    assert run.returncode == 1
    repeats = [line for line in run.stdout.splitlines() if "./test " in line]
    assert repeats == ["SPIKELET_SEED=7 ./test -n 0 -m '' 'test_x.py::test_odd[2]'"], run.stdout
