"""Which inputs hang on a global net of an ECP5, and which on the wire before its buffer."""

from host.flow.netlist import top

_BUFFER = "DCCA"
# Inputs that the clock networks go to by themselves.
_REACHED = {"CLK", "CLKA", "CLKB", "WCK", "LSR"}


def free_logic(design: dict) -> int:
    """Takes logic off the global nets; returns how many inputs it moved.

    design: the JSON that Yosys writes. nextpnr routes a global net before all others and for good.
    Where synthesis made a reset part of a look-up table's function, the way from the clock
    network to its input can take wires without which a neighbour cannot be routed at all.
    """
    cells = top(design)["cells"].values()
    before = {cell["connections"]["CLKO"][0]: cell["connections"]["CLKI"][0] for cell in cells
              if cell["type"] == _BUFFER}
    moved = 0
    for cell in cells:
        for port, bits in cell["connections"].items():
            if port in _REACHED or cell["port_directions"][port] != "input":
                continue
            for k, bit in enumerate(bits):
                if bit in before:
                    bits[k] = before[bit]
                    moved += 1
    return moved
