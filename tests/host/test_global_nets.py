"""What hangs on a global net."""

from host.flow.global_nets import free_logic


def cell(kind: str, **ports: int) -> dict:
    """A cell whose outputs are CLKO, F and Q."""
    return {"type": kind, "connections": {port: [bit] for port, bit in ports.items()},
            "port_directions": {port: "output" if port in ("CLKO", "F", "Q") else "input"
                                for port in ports}}


def netlist(**cells: dict) -> dict:
    return {"modules": {"DCCA": {"cells": {}}, "top": {"attributes": {"top": "1"},
                                                      "cells": cells}}}


def test_logic_takes_the_wire_before_the_buffer() -> None:
    design = netlist(
        register=cell("TRELLIS_FF", CLK=2, Q=10),
        buffer=cell("DCCA", CLKI=10, CLKO=11),
        cleared=cell("TRELLIS_FF", CLK=2, LSR=11, DI=20, Q=21),
        table=cell("LUT4", A=11, B=21, F=20),
        enabled=cell("TRELLIS_FF", CLK=2, LSR=11, CE=11, DI=20, Q=22),
    )
    cells = design["modules"]["top"]["cells"]
    assert free_logic(design) == 2
    assert cells["table"]["connections"] == {"A": [10], "B": [21], "F": [20]}
    assert cells["enabled"]["connections"]["CE"] == [10]
    assert all(cells[name]["connections"]["LSR"] == [11] for name in ("cleared", "enabled"))
    assert cells["buffer"]["connections"] == {"CLKI": [10], "CLKO": [11]}
    assert free_logic(design) == 0


def test_without_a_buffer_nothing_moves() -> None:
    design = netlist(table=cell("LUT4", A=3, F=4), ff=cell("TRELLIS_FF", CLK=2, LSR=3, Q=5))
    assert free_logic(design) == 0
