"""constraints.txt: a version of everything that the tests use, within pyproject.toml's ranges."""

import importlib.metadata
import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.raise_constraints import CONSTRAINTS, HEADER, ROOT, pinned

INSTALL = "install -q -c constraints.txt -e "
# Other builds of PyTorch bring these, of versions that PyTorch names itself.
OF_OTHER_BUILDS = re.compile(r"(nvidia|cuda|triton)\b")


def versions() -> dict[str, Version]:
    """The version of each package in constraints.txt."""
    lines = CONSTRAINTS.read_text().removeprefix(HEADER).splitlines()
    return {canonicalize_name(name): Version(version)
            for name, version in (line.split("==") for line in lines)}


def own_requirements() -> list[Requirement]:
    """Of the project with its tests; an extra within an extra is followed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras, found, asked = project["optional-dependencies"], [], ["test"]
    while asked:
        for requirement in map(Requirement, extras[asked.pop()]):
            if requirement.name == project["name"]:
                asked += requirement.extras
            else:
                found.append(requirement)
    return found + [Requirement(line) for line in project["dependencies"]]


def everything() -> dict[str, list[Requirement]]:
    """What the project needs, and what that needs in turn here: name -> who asks for which."""
    found: dict[str, list[Requirement]] = {}
    asked = [(requirement, "") for requirement in own_requirements()]
    done = set()
    while asked:
        requirement, extra = asked.pop()
        name = canonicalize_name(requirement.name)
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        if OF_OTHER_BUILDS.match(name):
            continue
        found.setdefault(name, []).append(requirement)
        for wanted in {"", *requirement.extras}:
            if (name, wanted) not in done:
                done.add((name, wanted))
                asked += [(Requirement(line), wanted)
                          for line in importlib.metadata.requires(name) or []]
    return found


def test_one_version_within_every_range():
    known = versions()
    for name, requirements in everything().items():
        assert name in known, f"{name} is not in {CONSTRAINTS.name}: raise it"
        for requirement in requirements:
            assert requirement.specifier.contains(known[name]), (
                f"{CONSTRAINTS.name} has {name} {known[name]}, not {requirement}: raise it")


def test_no_line_too_many():
    unused = versions().keys() - everything().keys()
    assert not unused, f"nothing asks for {', '.join(unused)}: raise {CONSTRAINTS.name}"


def test_this_environment_has_these_versions():
    found = {name: Version(importlib.metadata.version(name).partition("+")[0])
             for name in everything()}
    other = [f"{name} {version} (not {versions()[name]})" for name, version in found.items()
             if version != versions()[name]]
    assert not other, f"{', '.join(other)}: mend it with pip {INSTALL}'.[test]'"


def test_it_is_what_gets_installed():
    assert "install --quiet --disable-pip-version-check --constraint constraints.txt" in (
        ROOT / "test").read_text()
    first = next(line for line in (ROOT / "README.md").read_text().splitlines()
                 if "pip install" in line)
    assert INSTALL in first


def test_what_pip_freeze_says():
    assert pinned("torch==2.13.0+cpu\nJinja2==3.1.6\nab==1.0.post2\n") == (
        HEADER + "ab==1.0.post2\nJinja2==3.1.6\ntorch==2.13.0\n")
    with pytest.raises(SystemExit, match="own @ file"):
        pinned("a==1\nown @ file:///somewhere\n")
