"""Carry chains of an ECP5 that begin with a constant.

A cell of a chain can take its carry only from the cell beside it. A chain with a carry-in therefore
has to begin with an additional cell that makes the carry. nextpnr adds one and connects it by a
wire. For a constant the wire is a waste: in `ulx3s` five hundred chains were connected to the same
place. The cells that are added here make the constant without a wire.
"""

import itertools

from host.flow.netlist import top

_CELL = "CCU2C"
# The look-up table of a half gives 1: its carry-out is its carry-in. It gives 0: its carry-out is
# what the table's lowest four bits give (Yosys, ecp5/cells_sim.v). Inputs at 1 need no wire. The
# first half of the added cell makes the carry, the second one hands it on.
_MAKE = {"0": 0x0000, "1": 0x0008}
_HAND_ON = 0xFFFF


def begin_chains(design: dict) -> int:
    """Adds a cell that needs no wire before each chain with a constant carry-in.

    `design` is the JSON that Yosys writes, and is changed. Returns how many cells were added.
    """
    module = top(design)
    cells = module["cells"]
    free = 1 + max((bit for netname in module["netnames"].values() for bit in netname["bits"]
                    if isinstance(bit, int)), default=1)
    begun = [(name, cell) for name, cell in cells.items()
             if cell["type"] == _CELL and cell["connections"].get("CIN", [None])[0] in _MAKE]
    inputs = [letter + half for letter in "ABCD" for half in "01"]
    outputs = ("COUT", "S0", "S1")  # nextpnr wants all of them to exist
    for net, (name, cell) in zip(itertools.count(free, len(outputs)), begun):
        (carry,) = cell["connections"]["CIN"]
        cells[f"{name}$begin"] = {
            "hide_name": 0, "type": _CELL, "attributes": {},
            "parameters": {"INIT0": f"{_MAKE[carry]:016b}", "INIT1": f"{_HAND_ON:016b}",
                           "INJECT1_0": "NO", "INJECT1_1": "NO"},
            "port_directions": {**dict.fromkeys([*inputs, "CIN"], "input"),
                                **dict.fromkeys(outputs, "output")},
            "connections": {**{port: ["1"] for port in inputs}, "CIN": ["x"],
                            **{port: [net + k] for k, port in enumerate(outputs)}},
        }  # fmt: skip
        cell["connections"]["CIN"] = [net]
    return len(begun)
