"""docs/tests.md names every test that `./test` leaves out."""

import re
import subprocess
import sys

import pytest

from tests.run import ROOT

DOCUMENT = ROOT / "docs" / "tests.md"


def left_out(marker: str) -> set[str]:
    """The tests with a marker, without parameters."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-p", "no:cacheprovider", "-m",
               marker]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    return set(re.findall(r"^(tests/\S+?\.py::\w+)", listed, re.MULTILINE))


def missing(document: str, tests: set[str]) -> set[str]:
    """Tests that neither stand in the document themselves nor with their whole file."""
    named = set(re.findall(r"^\| `(tests/[^`]+)` \|", document, re.MULTILINE))
    return {test for test in tests if not {test, test.split("::")[0]} & named}


@pytest.mark.parametrize("heading, marker", [
    ("Extras", "extra and not slow"), ("Slow", "slow"), ("Versions", "versions"),
])
def test_every_test_that_is_left_out_is_named(heading: str, marker: str) -> None:
    section = DOCUMENT.read_text(encoding="utf-8").split(f"\n## {heading}")[1].split("\n## ")[0]
    tests = left_out(marker)
    assert tests and not missing(section, tests)


def test_one_that_is_not_named_is_found() -> None:
    assert missing("| `tests/a.py::test_x` | x |\n", {"tests/a.py::test_y"}) == {
        "tests/a.py::test_y"}
