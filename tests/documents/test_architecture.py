"""docs/architecture.md: its map has every folder, its example the device's numbers."""

import re

from tests.documents import worked_example

ROOT = worked_example.PATH.parents[1]
DOCUMENT = worked_example.PATH.read_text(encoding="utf-8")
ROOMS = ("isa", "golden", "hdl", "sim", "host", "docs", "tests")


def folders() -> set[str]:
    """Folders of the tree that hold files, with a slash at the end."""
    found = {path.parent.relative_to(ROOT).as_posix() for room in ROOMS
             for path in (ROOT / room).rglob("*") if path.is_file()}
    return {f"{folder}/" for folder in found if not re.search(r"/(__pycache__|\.)", folder)}


def mapped(document: str) -> set[str]:
    """Folders in the first column of the map."""
    section = document.partition("## A map of the tree")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return set(re.findall(r"`([\w/]+/)`", " ".join(rows)))


def test_every_folder_is_in_the_map():
    assert mapped(DOCUMENT) == folders()


def test_a_missing_folder_is_found():
    shorter = "".join(line for line in DOCUMENT.splitlines(True)
                      if not line.startswith("| `hdl/link/`"))
    assert folders() - mapped(shorter) == {"hdl/link/"}


def test_the_example_is_current():
    current = worked_example.replaced(DOCUMENT, worked_example.text())
    assert current == DOCUMENT, "run python -m tests.documents.worked_example --write"
