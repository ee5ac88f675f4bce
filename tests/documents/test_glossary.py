"""docs/glossary.md explains words that the tree uses."""

import re

import pytest

from tests.documents.test_architecture import ROOMS, ROOT

DOCUMENT = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
SECTIONS = [section.partition("\n") for section in DOCUMENT.split("\n## ")[1:]]
TREE = "\n".join(path.read_text(encoding="utf-8") for room in ROOMS
                 for path in sorted((ROOT / room).rglob("*"))
                 if path.suffix in (".py", ".md", ".cc", ".h")
                 and path.stem not in ("glossary", "test_glossary")).lower()


def rows(section: str) -> list[list[str]]:
    """The cells of a section's rows, without the head."""
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def terms(cell: str) -> list[str]:
    """The terms that one row explains."""
    return re.sub(r" \(.*?\)", "", cell).split(", ")


@pytest.mark.parametrize("title, section", [(t, s) for t, _, s in SECTIONS],
                         ids=[t for t, _, _ in SECTIONS])
def test_a_section(title, section):
    """Every row says the field's word and a meaning; rows stand in alphabetical order."""
    found = rows(section)
    assert len(found) > 3 and all(len(row) == 3 and all(row) for row in found), title
    names = [row[0].lower() for row in found]
    assert names == sorted(names)


def unused(document: str) -> list[str]:
    """Terms of a glossary that nothing else in the tree says."""
    found = [term for section in document.split("\n## ")[1:]
             for row in rows(section) for term in terms(row[0])]
    return [term for term in found if not re.search(
        rf"(?<![a-z]){re.escape(term.lower())}(?![a-z])".replace(r"\ ", r"[ _\n-]"), TREE)]


def test_the_tree_uses_every_term():
    assert not unused(DOCUMENT)
    assert unused(DOCUMENT.replace("| tile |", "| wavefront |")) == ["wavefront"]
