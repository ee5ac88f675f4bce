"""How much of a part a netlist takes, counted after synthesis and before placement."""

from collections.abc import Mapping
from dataclasses import dataclass

from hdl.boards.board import Family

# The cells that multiply; a netlist of ours has none of them.
MULTIPLIERS = {
    Family.ecp5: ("MULT9X9D", "MULT18X18D", "ALU24B", "ALU54B"),
    Family.gowin: ("MULT9X9", "MULT18X18", "MULT36X36", "MULTALU18X18", "MULTALU36X18",
                   "MULTADDALU18X18", "ALU54D", "PADD9", "PADD18", "MULT12X12", "MULT27X36",
                   "MULTALU27X18", "MULTADDALU12X12", "MULTACC"),
    Family.ice40: ("SB_MAC16",),
    Family.xilinx: ("DSP48E1",),
}  # fmt: skip


@dataclass(frozen=True)
class Area:
    """What a netlist takes.

    Attributes:
        logic: logic cells: look-up tables with four inputs, bits of adders, and the like.
        flip_flops: one bit each.
        blocks: block RAMs.
        multipliers: cells that multiply.
    """

    logic: int
    flip_flops: int
    blocks: int
    multipliers: int = 0

    def lacking(self, part: "Part") -> list[str]:
        """What the part has too little of, each as words for a message; empty if it fits."""
        rows = (("logic cells", self.logic, part.logic), ("flip-flops", self.flip_flops,
                part.flip_flops), ("block RAMs", self.blocks, part.blocks))  # fmt: skip
        return [f"{used:,} {name}, {used - has:,} more than its {has:,}"
                for name, used, has in rows if used > has]


@dataclass(frozen=True)
class Part:
    """What an FPGA has, in the units of `Area`."""

    name: str
    logic: int
    flip_flops: int
    blocks: int


# Logic cells, flip-flops and block RAMs as the place and route tools count them.
PARTS = {
    p.name: p
    for p in (
        Part("LFE5U-25F", 24_288, 24_288, 56),
        Part("LFE5U-45F", 43_848, 43_848, 108),
        Part("LFE5U-85F", 83_640, 83_640, 208),
        Part("GW2A-18C", 20_736, 15_552, 46),
        Part("GW5AST-138C", 138_240, 138_240, 340),
        Part("iCE40UP5K", 5_280, 5_280, 30),
    )
}

# How many logic cells a cell of the netlist takes. A TRELLIS_DPR16X4 is a memory in four look-up
# tables; its write port takes a slice, with two more.
_LOGIC = {
    Family.ecp5: {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6},
    Family.gowin: {"LUT1": 1, "LUT2": 1, "LUT3": 1, "LUT4": 1, "ALU": 1, "RAM16SDP1": 1,
                   "RAM16SDP2": 2, "RAM16SDP4": 4, "INV": 1},
    # An adder's look-up table and its carry share a logic cell, so carries are not counted.
    Family.ice40: {"SB_LUT4": 1},
}  # fmt: skip
_BLOCKS = {
    Family.ecp5: ("DP16KD", "PDPW16KD"),
    Family.gowin: ("SDPB", "SDPX9B", "DPB", "DPX9B", "SPB", "SPX9", "PROM", "pROM", "pROMX9"),
    Family.ice40: ("SB_RAM40_4K",),
}


def area(family: Family, cells: Mapping[str, int]) -> Area:
    """The area of a netlist, from how many cells of each type it has."""
    flip_flops = ("TRELLIS_FF", "DFF", "SB_DFF")
    return Area(
        logic=sum(count * cells.get(cell, 0) for cell, count in _LOGIC[family].items()),
        flip_flops=sum(n for cell, n in cells.items() if cell.startswith(flip_flops)),
        blocks=sum(cells.get(cell, 0) for cell in _BLOCKS[family]),
        multipliers=sum(cells.get(cell, 0) for cell in MULTIPLIERS[family]),
    )
