"""Where the carry chains of an ECP5 begin.

The first cell of a chain has its carry from the cell beside it, whatever that is for. A chain with
a carry of its own therefore begins with a cell that makes it; nextpnr puts one there, with a wire
to it. A constant needs no wire: `ulx3s` had five hundred of them from one place.
"""

import itertools

from host.flow.netlist import top

_CELL = "CCU2C"
# Where a half's table gives 0, its first four bits give the carry out, else that is the carry in
# (Yosys, ecp5/cells_sim.v). Inputs at 1 need no wire. The first half makes, the second hands on.
_MAKE = {"0": 0x0000, "1": 0x0008}
_HAND_ON = 0xFFFF


def begin_chains(design: dict) -> int:
    """Puts a cell without wires before each chain with a constant carry; returns how many.

    design: the JSON that Yosys writes.
    """
    module = top(design)
    cells = module["cells"]
    free = 1 + max((bit for netname in module["netnames"].values() for bit in netname["bits"]
                    if isinstance(bit, int)), default=1)
    begun = [(name, cell) for name, cell in cells.items()
             if cell["type"] == _CELL and cell["connections"].get("CIN", [None])[0] in _MAKE]
    inputs = [letter + half for letter in "ABCD" for half in "01"]
    outputs = ("COUT", "S0", "S1")  # nextpnr looks for all of them
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
