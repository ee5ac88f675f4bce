"""Decides where block RAM lies, before the rest is placed.

Each core gets as many of the part's rows of blocks as it needs, in the order of its lanes. The
blocks of any other memory lie next to each other.

Row memory nearly fills the block RAM of a part that holds a model. Left to itself, the placer puts
the two banks of a lane, and the lanes of a word, far from each other: on the LFE5U-85F the wires of
`ulx3s` were 39 % longer (docs/clock_diary.md).
"""

import re
from collections import defaultdict
from dataclasses import dataclass

from host.flow.netlist import top

_BLOCK = "DP16KD"
_ROWS = re.compile(r"\.rows\.core_(\d+)_bank_(\d+)_part_(\d+)\.\d+\.(\d+)$")
# The other memories, in the order of the rows that their blocks get. The last rows of the part are
# the nearest to each other, so vector memory (device.memory), which has the most wires, is late.
_OTHERS = tuple(re.compile(rf"\.{name}\.memory\.\d+\.(\d+)$") for name in (
    r"sequencer\.dispatch\.program", "key_exponents", "parameters", r"device\.memory",
    "value_exponents",
))


@dataclass(frozen=True)
class Grid:
    """The block RAM of a part: the rows of tiles that have any, and the columns in each of them."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]

    def name(self, row: int, column: int) -> str:
        """nextpnr's name of the block in a row and column of the grid.

        Four columns in a row are a group in the chip, which the name numbers.
        """
        return f"X{self.columns[column]}/Y{self.rows[row]}/EBR{column % 4}"


def _columns(first: int, groups: int) -> list[int]:
    """The tile columns of the blocks in so many groups, side by side."""
    return [first + 9 * group + step for group in range(groups) for step in (0, 2, 4, 6)]


# From nextpnr's chip database, which has them from Project Trellis' grid of tiles.
_GRIDS = {"LFE5U-85F": Grid((22, 46, 70, 82), (*_columns(4, 7), *_columns(69, 6)))}


def place_blocks(design: dict, part: str) -> int:
    """Gives block RAMs a place, as the attribute BEL; returns how many have got one.

    `design` is the JSON that Yosys writes, and is changed.

    Core k gets row k of the part's grid, or rows 2 * k and 2 * k + 1 where the largest core needs
    two, and so on. Its blocks lie there in the order of their lanes. The middle of every row stays
    free for the other memories. These get places in the middle of the part, memory by memory, if
    each of the remaining blocks belongs to a memory that is known here and there is room for all.

    No block gets a place if the grid of the part is not known here, if the cores need more rows
    than it has, or if they take less than half of its blocks, since the placer does better with a
    small design.
    """
    grid = _GRIDS.get(part)
    if not grid:
        return 0
    cells = top(design)["cells"]
    return _place(cells, grid) + _place_others(cells, grid)


def _place(cells: dict, grid: Grid) -> int:
    """Gives the blocks of row memory their places; how many, 0 where they get none."""
    banks: dict[tuple[int, int], list[tuple[int, int, str]]] = defaultdict(list)
    for name, cell in cells.items():
        found = _ROWS.search(name) if cell["type"] == _BLOCK else None
        if found:
            core, bank, part, block = map(int, found.groups())
            banks[core, bank].append((part, block, name))
    # Sorted by how far along the lanes a block is, so that the banks of a lane lie side by side.
    cores: dict[int, list[tuple[float, str]]] = defaultdict(list)
    for (core, _), blocks in banks.items():
        cores[core] += [((k + 0.5) / len(blocks), name) for k, (*_, name) in
                        enumerate(sorted(blocks))]
    count, width = sum(map(len, cores.values())), len(grid.columns)
    rows = -(-max(map(len, cores.values()), default=0) // width)  # that each core gets
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
    """Gives the blocks of other memories places among those that row memory has left.

    Returns how many have got one: 0 where row memory has no places.
    """
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
