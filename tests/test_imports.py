"""Who may import whom."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = {"isa", "golden", "hdl", "sim", "host", "tests"}

FORBIDDEN = {
    "isa": OURS - {"isa"},
    "golden": OURS - {"isa", "golden"},
    "golden/units": {"torch", "golden.model", "golden.device"},
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
    path.write_text("def f():\n    from hdl.units import neuron\n    import torch.nn\n")
    assert {"hdl.units", "hdl.units.neuron", "torch.nn"} <= imports(path)
