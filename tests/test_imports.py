"""Who may import whom."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = {"isa", "golden", "hdl", "sim", "host", "tests"}
GOLDEN = {path.name for path in (ROOT / "golden").iterdir() if (path / "__init__.py").exists()}
UNITS = {path.name for path in (ROOT / "hdl/units").iterdir() if (path / "__init__.py").exists()}

FORBIDDEN = {
    "isa": OURS - {"isa"},
    "golden": OURS - {"isa", "golden"},
    "golden/units": {"torch", *(f"golden.{room}" for room in GOLDEN - {"units"})},
    "golden/checkpoints": {f"golden.{room}" for room in GOLDEN - {"checkpoints"}},
    "golden/device": {"torch", *(f"golden.{room}" for room in GOLDEN - {"device", "units"})},
    "hdl/lib": {"hdl.units", "hdl.memory", "hdl.link", "hdl.boards"},
    "hdl/memory": {"hdl.units", "hdl.link", "hdl.boards"},
    **{f"hdl/units/{room}": {f"hdl.units.{other}" for other in UNITS - {room}}
       for room in sorted(UNITS)},
    "hdl": {"golden", "host", "tests"},
    "sim": {"golden", "host", "tests"},
    "host": {"tests"},
    "host/compiler": {"hdl", "sim", "tests"},
}


def imports(path: Path) -> set[str]:
    """Modules that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_import_rule(folder):
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    for path in files:
        for name in imports(path):
            for forbidden in FORBIDDEN[folder]:
                assert name != forbidden and not name.startswith(forbidden + "."), (
                    f"{path.relative_to(ROOT)} imports {name}"
                )


def test_a_breach_is_found(tmp_path):
    path = tmp_path / "x.py"
    path.write_text("def f():\n    from hdl.units import fire\n    import torch.nn\n")
    assert {"hdl.units", "hdl.units.fire", "torch.nn"} <= imports(path)


def test_no_circles():
    """No file of ours needs itself, however many imports away, those inside functions included."""
    files = {path.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."): path
             for folder in OURS - {"tests"} for path in (ROOT / folder).rglob("*.py")}
    arrows = {name: imports(path) & files.keys() for name, path in files.items()}
    assert "hdl.units.fire.neuron" in arrows["hdl.units.fire.fire"]
    # A file without arrows to the ones left goes; what never goes needs itself.
    while free := [name for name, to in arrows.items() if not to & arrows.keys()]:
        for name in free:
            del arrows[name]
    assert not arrows, f"circles among {sorted(arrows)}"
