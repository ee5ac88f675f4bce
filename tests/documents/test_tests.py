"""docs/tests.md names every test that `./test` leaves out."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.run import ROOT

DOCUMENT = ROOT / "docs" / "tests.md"

_LISTING = """
import json, os
def pytest_collection_modifyitems(items):
    found = [[item.nodeid.split("[")[0], [mark.name for mark in item.iter_markers()]]
             for item in items]
    with open(os.environ["LISTING"], "w") as file:
        json.dump(found, file)
"""
"""A plugin that writes every test and its markers into the file LISTING."""


@pytest.fixture
def markers(tmp_path: Path) -> list[tuple[str, set[str]]]:
    """Every test of the tree, without parameters, and its markers."""
    (tmp_path / "listing.py").write_text(_LISTING)
    listing = tmp_path / "listing.json"
    paths = [str(tmp_path), os.environ.get("PYTHONPATH", "")]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-p", "no:cacheprovider", "-p",
         "listing", "-m", ""],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "LISTING": str(listing), "PYTHONPATH": os.pathsep.join(paths)},
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-2000:]
    return [(test, set(names)) for test, names in json.loads(listing.read_text())]


def missing(document: str, tests: set[str]) -> set[str]:
    """Tests that stand in the document neither themselves nor with their whole file or folder."""
    named = names_in(document)
    return {test for test in tests if not places(test) & named}


def names_in(document: str) -> set[str]:
    return set(re.findall(r"^\| `(tests/[^`]+)` \|", document, re.MULTILINE))


def places(test: str) -> set[str]:
    """A test, its file and its folder."""
    file = test.split("::")[0]
    return {test, file, file.rpartition("/")[0]}


def test_what_is_left_out_is_named_and_what_is_named_exists(
    markers: list[tuple[str, set[str]]]
) -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    for heading, marker, but in (("Extras", "extra", "slow"), ("Slow", "slow", ""),
                                 ("Versions", "versions", "")):  # fmt: skip
        section = document.split(f"\n## {heading}")[1].split("\n## ")[0]
        tests = {test for test, names in markers if marker in names and but not in names}
        assert tests and not missing(section, tests), heading
    assert not names_in(document) - set().union(*(places(test) for test, _ in markers))


def test_one_that_is_not_named_is_found() -> None:
    assert missing("| `tests/a.py::test_x` | x |\n", {"tests/a.py::test_y"}) == {
        "tests/a.py::test_y"}
