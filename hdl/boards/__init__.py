"""Boards: a record of each (definitions/, one short file a board), and the tops that they share."""

import importlib
import pkgutil

from hdl.boards import definitions
from hdl.boards.board import Board
from isa.errors import SpikeletError

_modules = sorted(m.name for m in pkgutil.iter_modules(definitions.__path__))
BOARDS: dict[str, Board] = {
    b.name: b
    for b in (importlib.import_module(f"{definitions.__name__}.{m}").BOARD for m in _modules)
}
"""Every board by its name."""


def board(name: str) -> Board:
    """The named board; an unknown name is a user's mistake."""
    if name not in BOARDS:
        raise SpikeletError(f"there is no board '{name}'; choose one of: {', '.join(BOARDS)}")
    return BOARDS[name]
