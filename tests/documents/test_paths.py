"""What the documents point at exists: files, folders, links to each other and to headings."""

import re
from pathlib import Path

import pytest

from host.measure import figures
from tests.documents.test_architecture import ROOMS, ROOT

DIARIES = ("docs/clock_diary.md", "docs/training_diary.md")
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md")),
             ROOT / "golden/models/stories/README.md"]
FILE = re.compile(rf"(?<![\w/.-])(?:{'|'.join(ROOMS)})/[\w./*-]+")
LINK = re.compile(r"\]\(([^)#:]+)\)")
SECTION = re.compile(r"\[([\w.]+)\]\([\w./]+\),\s+\"([^\"]+)\"")


def missing(text: str, folder: Path) -> list[str]:
    """Files and links of a document in `folder` that lead nowhere."""
    files = {path.rstrip(".,:") for path in FILE.findall(text)}
    lost = [path for path in files if not any(ROOT.glob(path.rstrip("/")))]
    return sorted(lost) + [link for link in LINK.findall(text) if not (folder / link).exists()]


def lost_sections(text: str) -> list[str]:
    """Headings that a document quotes behind a link and that the linked document lacks."""
    return [heading for name, heading in SECTION.findall(text)
            if not re.search(rf"^#+ {re.escape(' '.join(heading.split()))}",
                             (ROOT / "docs" / name).read_text(encoding="utf-8"), re.MULTILINE)]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_leads_somewhere(path):
    text = path.read_text(encoding="utf-8")
    if path.relative_to(ROOT).as_posix() not in DIARIES:
        assert not missing(text, path.parent)
    assert not lost_sections(text)


def test_a_path_that_leads_nowhere_is_found():
    text = ("`hdl/units/fire/fire.py`, `tests/units/*`; hdl/units/fir.py and `isa/x.py`.\n"
            "See [results.md](results.md), \"Area and clock\", or [it](docs/results.md), "
            "[results.md](results.md), \"Area\nand time\".")
    assert missing(text, ROOT / "docs") == ["hdl/units/fir.py", "isa/x.py", "docs/results.md"]
    assert lost_sections(text) == ["Area\nand time"]


def test_every_document_is_named_in_the_readme():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\]\((?:docs/)?(\w+\.md)\)", text))
    assert {path.name for path in DOCUMENTS[:-1]} - {"README.md"} <= named
    assert figures.PATH.parent == ROOT / "docs"
