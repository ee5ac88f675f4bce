"""Where block RAM goes, decided before placement: for every core a row of blocks, or as many as it
takes, lane by lane, and the blocks of every other memory next to each other.

Rows nearly fill the block RAM of a part that holds a model. A placer that finds out by itself which
block goes where leaves a lane's two banks, and the lanes of a word, far from each other: on the
LFE5U-85F the wires of `ulx3s` were 39 % longer (docs/clock_diary.md).
"""

import re
from collections import defaultdict
from dataclasses import dataclass

from host.flow.netlist import top

_BLOCK = "DP16KD"
_ROWS = re.compile(r"\.rows\.core_(\d+)_bank_(\d+)_part_(\d+)\.\d+\.(\d+)$")
# The other memories, in the order of the rows where their blocks go: the last rows of the part are
# the nearest to each other, and vector memory has the most wires.
_OTHERS = tuple(re.compile(rf"\.{name}\.memory\.\d+\.(\d+)$") for name in (
    r"sequencer\.dispatch\.program", "key_exponents", "parameters", r"device\.memory",
    "value_exponents",
))


@dataclass(frozen=True)
class Grid:
    """The block RAM of a part: tile rows, and the tile columns that each of them has."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]

    def name(self, row: int, column: int) -> str:
        """nextpnr's name of a block: they stand in groups of four."""
        return f"X{self.columns[column]}/Y{self.rows[row]}/EBR{column % 4}"


def _columns(first: int, groups: int) -> list[int]:
    return [first + 9 * group + step for group in range(groups) for step in (0, 2, 4, 6)]


# As nextpnr names them (its chip database, from Project Trellis' tile grid).
_GRIDS = {"LFE5U-85F": Grid((22, 46, 70, 82), (*_columns(4, 7), *_columns(69, 6)))}


def place_blocks(design: dict, part: str) -> int:
    """Gives blocks of row memories a place (attribute BEL); returns how many have one.

    design: the JSON that Yosys writes. Core k gets row k of the part's grid, or rows 2 * k and
    2 * k + 1 where the largest needs two, and so on; its blocks stand in the order of their lanes.
    The middle of every row stays free for other memories. These go there memory by memory, in the
    middle of the part, if all of its other blocks are of memories that are known here and find
    room. Nothing gets a place where the part's grid is not known, where the cores need more than
    its rows, and where they take less than half of the blocks: a small design is better placed
    freely.
    """
    grid = _GRIDS.get(part)
    if not grid:
        return 0
    cells = top(design)["cells"]
    return _place(cells, grid) + _place_others(cells, grid)


def _place(cells: dict, grid: Grid) -> int:
    banks: dict[tuple[int, int], list[tuple[int, int, str]]] = defaultdict(list)
    for name, cell in cells.items():
        found = _ROWS.search(name) if cell["type"] == _BLOCK else None
        if found:
            core, bank, part, block = map(int, found.groups())
            banks[core, bank].append((part, block, name))
    # A block's place among its bank's is that of its lanes among the core's.
    cores: dict[int, list[tuple[float, str]]] = defaultdict(list)
    for (core, _), blocks in banks.items():
        cores[core] += [((k + 0.5) / len(blocks), name) for k, (*_, name) in
                        enumerate(sorted(blocks))]
    count, width = sum(map(len, cores.values())), len(grid.columns)
    rows = -(-max(map(len, cores.values()), default=0) // width)  # of a core
    if 2 * count < width * len(grid.rows) or rows * len(cores) > len(grid.rows):
        return 0
    for number, core in enumerate(sorted(cores)):
        names = [name for _, name in sorted(cores[core])]
        for row in range(rows):
            blocks = names[row::rows]
            left = len(blocks) // 2
            free = width - len(blocks)
            for k, name in enumerate(blocks):
                place = grid.name(number * rows + row, k if k < left else k + free)
                cells[name]["attributes"]["BEL"] = place
    return count


def _place_others(cells: dict, grid: Grid) -> int:
    """Fills the middle of what the rows have left, row by row; 0 where they have no places."""
    blocks = {name: cell["attributes"] for name, cell in cells.items() if cell["type"] == _BLOCK}
    taken = {given["BEL"] for given in blocks.values() if "BEL" in given}
    found = []
    for name in blocks.keys() - {name for name, given in blocks.items() if "BEL" in given}:
        order = [(k, int(match[1])) for k, kind in enumerate(_OTHERS)
                 if (match := kind.search(name))]
        found += [(*place, name) for place in order]
    free = [name for row in range(len(grid.rows)) for column in range(len(grid.columns))
            if (name := grid.name(row, column)) not in taken]
    if not taken or len(found) != len(blocks) - len(taken) or len(found) > len(free):
        return 0
    for (*_, name), place in zip(sorted(found), free[(len(free) - len(found)) // 2 :],
                                 strict=False):  # fmt: skip
        blocks[name]["BEL"] = place
    return len(found)
