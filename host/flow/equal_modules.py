"""Large modules that occur several times in a design are synthesised only once.

Amaranth writes a module for each instance. The cores of a device are half of its logic, and their
modules are equal but for the numbers in generated names. So one of them is kept, and stands for
all. It is synthesised as a module of its own, and the netlist is flattened afterwards
(docs/clock_diary.md).
"""

import re
from collections import defaultdict

_LEAST = 400_000  # characters of RTLIL: a smaller module gains more if it is flattened first
_MODULE = re.compile(r"^(?:attribute [^\n]*\n)*module (\S+)\n(.*?)^end\n", re.MULTILINE | re.DOTALL)
_CELL = re.compile(r"^  cell (\S+) (\S+)\n(.*?)^  end\n", re.MULTILINE | re.DOTALL)
_PORT = re.compile(r"^  wire [^\n]*(?:input|output) (\d+) +(\S+)$", re.MULTILINE)
_NUMBER = re.compile(r"\$\d+")


def share(rtlil: str, least: int = _LEAST) -> tuple[str, list[str]]:
    """RTLIL with one module for each group of equal modules, and the names of these modules.

    Modules of fewer than `least` characters stay as they are.
    """
    groups: dict[str, list[re.Match]] = defaultdict(list)
    for module in _MODULE.finditer(rtlil):
        if len(module[2]) >= least:
            groups[_numbered_anew(module[2])].append(module)
    kept: list[str] = []
    gone: dict[str, tuple[str, dict[str, str]]] = {}  # removed: by what, its ports there
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
    """The text with generated numbers ($7) counted anew, in the order of their appearance.

    Two modules are equal if these texts are.
    """
    numbers: dict[str, str] = {}
    return _NUMBER.sub(lambda m: numbers.setdefault(m[0], f"${len(numbers)}"), body)


def _ports(body: str) -> list[str]:
    """The names of a module's ports, in the order of their numbers."""
    return [name for _, name in sorted((int(number), name) for number, name in
                                       _PORT.findall(body))]


def _instead(cell: re.Match, gone: dict) -> str:
    """The text of an instance, with a removed module replaced by the one that stands for it."""
    kind, name, connections = cell.groups()
    if kind not in gone:
        return cell[0]
    stands, ports = gone[kind]
    renamed = re.sub(r"^    connect (\S+) ", lambda m: f"    connect {ports[m[1]]} ", connections,
                     flags=re.MULTILINE)
    return f"  cell {stands} {name}\n{renamed}  end\n"
