"""One name, one thing; one place that knows the order of a layer; one place that steps neurons."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from golden.decoder import LAYER_MAPS, MAPS

ROOT = Path(__file__).resolve().parents[2]
FILES = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
         for path in sorted((ROOT / "golden").rglob("*.py"))}
SKELETON, NEURON = "golden/decoder.py", "golden/units/neuron.py"
# Classes and constants that two files may define, each with its reason.
TWICE: dict[str, str] = {}
OPERATORS = {"embed", "normed", "attend", "residual", "gated"}
# Files that run operators by themselves: both ends of models that are loaded part by part, and
# nothing of a layer.
APART = {
    "golden/spiking_model/model.py": {"embed", "normed"},
    "golden/quantisation/walk.py": {"embed"},
}
# What a neuron's step reads of a schedule's entry. The golden device makes entries, and reads none.
STEPPING = {"threshold", "leak", "integrate"}


def defined(source: str) -> Iterator[str]:
    """Classes, constants and names for types that a file defines, and imports `x as x`."""
    for node in ast.parse(source).body:
        match node:
            case ast.ClassDef(name=name):
                yield name
            case ast.Assign(targets=targets):
                for target in targets:
                    yield from (n.id for n in ast.walk(target) if isinstance(n, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                yield from (alias.asname for alias in names if alias.asname == alias.name)


def twice(files: dict[str, str]) -> dict[str, list[str]]:
    """Names that more than one file defines, with the files."""
    places = defaultdict(list)
    for path, source in files.items():
        for name in set(defined(source)):
            places[name].append(path)
    return {name: paths for name, paths in places.items() if len(paths) > 1}


def operators_called(source: str) -> set[str]:
    """The decoder's operators that a file calls, whatever on."""
    return {node.func.attr for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            and node.func.attr in OPERATORS}


def matrices_named(source: str) -> set[str]:
    """Matrices of a layer that a file takes by name in expressions: `layer.wq`, `self.w_up(x)`."""
    layer = {weight for name in LAYER_MAPS for weight in MAPS[name].weights}
    return {node.attr for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)} & layer


def test_one_name_one_thing():
    found = twice(FILES)
    assert found.keys() == TWICE.keys(), found


@pytest.mark.parametrize("first, second", [
    ("class Fired: pass", "Fired = tuple[int, int]"), ("MAPS = {}", "MAPS: dict = {}"),
    ("from a import Watch as Watch", "class Watch: pass")])
def test_a_second_definition_is_found(first, second):
    assert len(twice({"a.py": first, "b.py": second, "c.py": "def f(): X = 1"})) == 1


def test_only_the_skeleton_runs_operators():
    """Whoever calls an operator decides what comes before and after it."""
    assert operators_called(FILES[SKELETON]) == OPERATORS
    for path, source in FILES.items():
        if path != SKELETON:
            assert operators_called(source) == APART.get(path, set()), path


def test_no_arithmetic_takes_a_layers_matrices_by_name():
    """A forward pass of its own would: arithmetics find matrices in the skeleton's table."""
    for path, source in FILES.items():
        assert not matrices_named(source), path


@pytest.mark.parametrize("source", [
    "def layer(a, x):\n    q, = a.normed(x, 0, ('qkv',))\n    return a.attend(q, 0)",
    "def layer(m, x):\n    return x + m.wo(m.wq(x) @ m.wk(x) * m.wv(x))",
    "def mlp(m, x):\n    return m.w_down(f(m.w_gate(x)) * m.w_up(x))"])
def test_a_second_skeleton_is_found(source):
    assert operators_called(source) or matrices_named(source)


def reads(source: str) -> set[str]:
    """What of a schedule's entry a file reads."""
    return {node.attr for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)} & STEPPING


def test_neurons_are_stepped_in_one_place():
    assert reads(FILES[NEURON]) == STEPPING
    for path, source in FILES.items():
        if path != NEURON:
            assert not reads(source), path
