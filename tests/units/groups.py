"""What the register file says of a magnitude."""

from hdl.lib.bit_groups import grouped_layout
from tests.cocotb_support import pack


def grouped(value: int, bits: int) -> int:
    """An unsigned value of so many bits as hdl.lib.bit_groups.grouped_layout packs it."""
    groups = [value << 1 >> first & 15 for first in range(0, bits + 1, 4)]
    return pack(grouped_layout(bits), {
        "found": sum((group != 0) << k for k, group in enumerate(groups)),
        "places": sum(max(g.bit_length() - 1, 0) << 2 * k for k, g in enumerate(groups)),
    })  # fmt: skip
