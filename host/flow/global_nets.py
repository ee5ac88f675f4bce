"""Inputs of logic on an ECP5's global nets, the networks for clocks and resets."""

from host.flow.netlist import top

_BUFFER = "DCCA"
# Inputs that the global networks reach without other wires.
_REACHED = {"CLK", "CLKA", "CLKB", "WCK", "LSR"}


def free_logic(design: dict) -> int:
    """Connects inputs of logic to the wire before a global buffer, in the place of its global net.

    `design` is the JSON that Yosys writes, and is changed. Returns how many inputs were moved.

    nextpnr routes global nets before all others and never again. Synthesis can make a reset part of
    a look-up table's function. The way from the global network to such an input may take wires
    without which a neighbour cannot be routed at all.
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
