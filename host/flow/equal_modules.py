"""Large modules that stand several times in a design are synthesised once.

Amaranth writes a module for each instance. The cores of a device are half of its logic and equal,
up to the numbers in the names of what has none: one of them goes through synthesis as a module of
its own, and the netlist is flattened after it (docs/clock_diary.md).
"""

import re
from collections import defaultdict

_LEAST = 400_000  # characters of RTLIL: what is smaller gains more from its surroundings
_MODULE = re.compile(r"^(?:attribute [^\n]*\n)*module (\S+)\n(.*?)^end\n", re.MULTILINE | re.DOTALL)
_CELL = re.compile(r"^  cell (\S+) (\S+)\n(.*?)^  end\n", re.MULTILINE | re.DOTALL)
_PORT = re.compile(r"^  wire [^\n]*(?:input|output) (\d+) +(\S+)$", re.MULTILINE)
_NUMBER = re.compile(r"\$\d+")


def share(rtlil: str, least: int = _LEAST) -> tuple[str, list[str]]:
    """RTLIL in which equal modules of `least` characters or more stand once, and their names."""
    groups: dict[str, list[re.Match]] = defaultdict(list)
    for module in _MODULE.finditer(rtlil):
        if len(module[2]) >= least:
            groups[_numbered_anew(module[2])].append(module)
    kept: list[str] = []
    gone: dict[str, tuple[str, dict[str, str]]] = {}  # its name: what stands for it, its ports
    for modules in groups.values():
        if len(modules) > 1:
            first, *others = modules
            kept.append(first[1])
            for other in others:
                ports = dict(zip(_ports(other[2]), _ports(first[2]), strict=True))
                gone[other[1]] = first[1], ports
    if not gone:
        return rtlil, []
    rtlil = _MODULE.sub(lambda m: "" if m[1] in gone else m[0], rtlil)
    return _CELL.sub(lambda cell: _instead(cell, gone), rtlil), kept


def _numbered_anew(body: str) -> str:
    """The text with its numbers in the order in which they appear first."""
    numbers: dict[str, str] = {}
    return _NUMBER.sub(lambda m: numbers.setdefault(m[0], f"${len(numbers)}"), body)


def _ports(body: str) -> list[str]:
    return [name for _, name in sorted((int(number), name) for number, name in
                                       _PORT.findall(body))]


def _instead(cell: re.Match, gone: dict) -> str:
    """An instance of a module that is gone as one of the module that stands for it."""
    kind, name, connections = cell.groups()
    if kind not in gone:
        return cell[0]
    stands, ports = gone[kind]
    renamed = re.sub(r"^    connect (\S+) ", lambda m: f"    connect {ports[m[1]]} ", connections,
                     flags=re.MULTILINE)
    return f"  cell {stands} {name}\n{renamed}  end\n"
