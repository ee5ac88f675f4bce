"""`pytest -m versions`: BrainGPT under the oldest and the newest `transformers` that are allowed.

Each has an environment of its own in the cache folder, made on first use; the newest is looked up
each time. What else they hold is as constraints.txt has it, but for what `transformers` itself is
built on.
"""

import fcntl
import os
import subprocess
import tomllib
import venv
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from sim.cache import cache_root, content_key
from tests.raise_constraints import CONSTRAINTS, ROOT

pytestmark = pytest.mark.versions

TESTED = ("test_braingpt.py", "test_braingpt_arguments.py", "test_transformers.py")
# Of pyproject.toml's requirements, what these tests import; those that move with transformers last.
FIXED, FREE = ("numpy", "torch", "pytest", "pytest-timeout"), ("tokenizers", "safetensors")


def requirements() -> dict[str, Requirement]:
    """pyproject.toml's, of the project and its tests, by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = project["dependencies"] + project["optional-dependencies"]["test"]
    return {requirement.name: requirement for requirement in map(Requirement, lines)}


def lowest(requirement: Requirement) -> str:
    """The version that a requirement's lower bound names."""
    return next(part.version for part in requirement.specifier if part.operator == ">=")


def run(*command: str | Path, **changes: str) -> str:
    """What a command wrote; the test fails with it where the command does."""
    result = subprocess.run([*command], cwd=ROOT, env=os.environ | changes, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert result.returncode == 0, result.stdout
    return result.stdout


def environment(which: str) -> Path:
    """The Python of an environment with the oldest or the newest transformers."""
    known = requirements()
    library = known["transformers"]
    asked = f"transformers=={lowest(library)}" if which == "oldest" else str(library)
    wanted = [asked, *(str(known[name]) for name in FIXED + FREE)]
    root = cache_root() / "versions"
    root.mkdir(exist_ok=True)
    pins = [line for line in CONSTRAINTS.read_text().splitlines() if line.startswith(
        tuple(f"{name}==" for name in FIXED))]
    key = content_key(os.sys.version, *wanted, *pins)
    folder, constraints = root / f"{which}-{key}", root / f"{which}-{key}.txt"
    with open(root / f"{which}-{key}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        python = folder / "bin" / "python"
        if not (folder / "bin" / "pip").exists():
            venv.create(folder, with_pip=True, clear=True)
        constraints.write_text("\n".join(pins))
        run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade",
            "--constraint", constraints, *wanted)
    return python


@pytest.mark.parametrize("which", ["oldest", "newest"])
def test_transformers(which):
    python = environment(which)
    version = run(python, "-c", "import transformers; print(transformers.__version__)"
                  ).splitlines()[-1]
    print(f"transformers {version}")
    library = requirements()["transformers"]
    assert library.specifier.contains(version)
    if which == "oldest":
        assert Version(version) == Version(lowest(library))
    said = run(python, "-m", "pytest", "-p", "no:cacheprovider", "-vv", "--durations=0",
               *(Path("tests", "golden", name) for name in TESTED), PYTHONPATH=str(ROOT))
    for name in TESTED:
        assert f"{name}::" in said
    assert " passed" in said and "skipped" not in said, said
