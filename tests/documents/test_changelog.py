"""CHANGELOG.md says where a module went."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| `([\w.]+)`[^|]*\| `([\w.]+)` \|$", re.MULTILINE)
RENAMED = ROW.findall((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))


def is_file(module: str) -> bool:
    return (ROOT / module.replace(".", "/")).with_suffix(".py").is_file()


def is_package(module: str) -> bool:
    return (ROOT / module.replace(".", "/") / "__init__.py").is_file()


@pytest.mark.parametrize("before, now", RENAMED)
def test_a_renamed_module(before: str, now: str) -> None:
    assert not is_file(before)  # the name may be a package's now
    assert is_file(now) or is_package(now)


def test_the_table_is_read() -> None:
    assert ("golden.model.braingpt", "golden.float_model.braingpt") in RENAMED
    assert is_package("host.flow") and is_file("host.driver") and not is_package("host.build")
