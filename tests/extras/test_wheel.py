"""The package as users install it: a wheel, in an environment of its own, outside the tree."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("isa", "golden", "hdl", "sim", "host")
PROMPT = ("--prompt", "Once upon a time", "--max-new-tokens", "6", "--temperature", "0")
TIMES = r"[\d.,]+ \([\d.,]+ s\)"  # tokens a second, and the seconds

pytestmark = pytest.mark.extra


def run(*command: str | Path, folder: Path) -> str:
    """What a command prints, started outside the tree without what points into it."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made from a copy of what git knows, so that nothing left in the tree helps."""
    source = tmp_path_factory.mktemp("source")
    for name in tracked():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, source,
        folder=folder)
    (path,) = folder.glob("spikelet-*.whl")
    return path


@pytest.fixture(scope="module")
def spikelet(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command, installed with the versions of constraints.txt."""
    place = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", place, folder=place)
    run(place / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile",
        "--constraint", ROOT / "constraints.txt", wheel, folder=place)
    return place / "bin" / "spikelet"


def tracked() -> list[str]:
    """The files of the tree, those that are new included."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.splitlines() if (ROOT / name).is_file()]


def test_the_wheel_has_every_file_of_the_packages(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    missing = [name for name in tracked() if name.startswith(tuple(f"{p}/" for p in PACKAGES))
               and name not in inside]
    assert not missing


def test_it_tells_the_story_of_the_tree(spikelet: Path, tmp_path: Path) -> None:
    here = run(sys.executable, "-m", "host.cli", "generate", "--device", "golden", *PROMPT,
               folder=ROOT)
    there = run(spikelet, "generate", "--device", "golden", *PROMPT, folder=tmp_path)
    assert there.startswith("Once upon a time")
    assert re.sub(TIMES, "", there) == re.sub(TIMES, "", here)


def test_it_compiles_the_image_of_the_tree(spikelet: Path, tmp_path: Path) -> None:
    here, there = tmp_path / "here.image", tmp_path / "there.image"
    options = ("--config", "ulx3s", "--out")
    run(sys.executable, "-m", "host.cli", "compile", *options, here, folder=ROOT)
    run(spikelet, "compile", *options, there, folder=tmp_path)
    assert there.read_bytes() == here.read_bytes()


@pytest.mark.parametrize("words", [("--help",), ("info",), ("info", "ulx3s")])
def test_it_says_what_the_tree_says(spikelet: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    here = run(sys.executable, "-m", "host.cli", *words, folder=ROOT)
    assert here.strip() and run(spikelet, *words, folder=tmp_path) == here


def test_its_simulator_is_built_from_it(spikelet: Path, tmp_path: Path) -> None:
    """Verilator's harness and all of hdl/ are there: `tiny` is built, and its registers work."""
    said = run(spikelet.with_name("python"), "-c", (
        "import os\n"
        "os.environ['SPIKELET_CACHE'] = os.getcwd()\n"
        "import host.selftest as selftest\n"
        "from host.transport.simulated import SimulatedTransport\n"
        "from isa.configurations import configuration\n"
        "c = configuration('tiny')\n"
        "with SimulatedTransport(c) as transport:\n"
        "    print(selftest.check_registers(transport, c, 1).difference)\n"
        "    print(transport.cycles)\n"
        "print(selftest.__file__)\n"), folder=tmp_path)
    difference, cycles, file = said.splitlines()
    assert difference == "None" and int(cycles) > 0
    assert spikelet.parents[1] in Path(file).parents
    assert list(tmp_path.rglob("*.so")), "the simulator came from another cache"
