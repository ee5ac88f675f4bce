"""Nothing swallows arguments that it does not know."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("hdl", "isa", "golden", "host", "sim")
# `with` gives these three arguments of Python's own; an exception goes on by itself.
PROTOCOL = {"__exit__", "__aexit__"}
# Ways to take one key out of a dictionary, which leave the others unread.
ONE_KEY = {"get", "pop", "setdefault"}

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def always_run(node: ast.AST) -> Iterator[ast.AST]:
    """The node and what is in it, without what runs under a condition or for each element only."""
    yield node
    inner: list[ast.AST]
    match node:
        case ast.If() | ast.IfExp() | ast.While():
            inner = [node.test]
        case ast.For() | ast.AsyncFor():
            inner = [node.iter]
        case ast.BoolOp():
            inner = [node.values[0]]
        case ast.Match():
            inner = [node.subject]
        case ast.Try():
            inner = [*node.body, *node.finalbody]
        case _:
            inner = list(ast.iter_child_nodes(node))
    for child in inner:
        yield from always_run(child)


def reads_all(function: Function, name: str) -> bool:
    """Whether the function hands on, walks over or checks all that it took under this name."""
    body = function.body if isinstance(function.body, list) else [function.body]
    nodes = [node for statement in body for node in always_run(statement)]
    part = {id(node.value) for node in nodes if isinstance(node, ast.Subscript)
            or (isinstance(node, ast.Attribute) and node.attr in ONE_KEY)}
    return any(isinstance(node, ast.Name) and node.id == name and id(node) not in part
               for node in nodes)


def swallowing(source: str) -> list[str]:
    """`function(*name)` of every function that takes more than it reads."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, Function):
            called = getattr(node, "name", "lambda")
            more = (("*", node.args.vararg), ("**", node.args.kwarg))
            found += [f"{called}({stars}{taken.arg})" for stars, taken in more
                      if taken and called not in PROTOCOL and not reads_all(node, taken.arg)]
    return found


@pytest.mark.parametrize("folder", FOLDERS)
def test_nothing_swallows_arguments(folder):
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    for path in files:
        found = swallowing(path.read_text(encoding="utf-8"))
        assert not found, f"{path.relative_to(ROOT)}: {', '.join(found)}"


@pytest.mark.parametrize("source", [
    "def f(**more): return 1", "def f(*more): return 1", "async def f(**more): pass",
    "f = lambda **more: 0",
    "def f(**more): return more.get('x'), more['y'], more.pop('z', None)",
    "def f(labels, **more):\n    if labels:\n        return g(**more)",
    "def f(labels, **more): return g(**more) if labels else labels and g(**more)",
    "def f(**more):\n    for x in ():\n        g(**more)",
    "class C:\n    def f(self, *rest, **more): return g(*rest)"])
def test_a_breach_is_found(source):
    assert len(swallowing(source)) == 1


@pytest.mark.parametrize("source", [
    "def f(**more): return g(**more)", "def f(*more): return list(more)", "f = lambda *a: g(*a)",
    "def f(**more):\n    x = more.pop('x', 0)\n    check(more)\n    return x",
    "def f(**more):\n    for name in more: raise ValueError(name)",
    "def f(**more):\n    if more: raise ValueError(more)",
    "class C:\n    def __exit__(self, *exception): pass"])
def test_what_is_read_is_no_breach(source):
    assert swallowing(source) == []
