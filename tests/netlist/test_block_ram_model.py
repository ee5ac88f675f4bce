"""The model of ECP5 block RAM (sim/cells) against plain Python: widths, modes, resets, contents."""

import pytest
from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from sim.netlist import BLOCK_RAM_MODELS
from tests.cocotb_support import run_cocotb
from tests.netlist.bench_block_ram import initial_contents
from tests.netlist.block_ram import Cell, cells

pytestmark = pytest.mark.extra  # what netlists are simulated with

_PINS = {"ad": 14, "di": 18, "ce": 1, "oce": 1, "we": 1, "rst": 1, "cs": 3}
_INIT = {f"p_INITVAL_{k:02X}": Const(initial_contents() >> 320 * k & (1 << 320) - 1, 320)
         for k in range(64)}  # fmt: skip


def _bus(name: str, value) -> dict:
    return {f"{name}{k}": value[k] for k in range(len(value))}


class AllCells(wiring.Component):
    """Every cell of `cells()` on the same input pins, their outputs side by side."""

    def __init__(self) -> None:
        count = len(cells())
        members = {f"{name}_{port}": In(bits) for name, bits in _PINS.items() for port in "ab"}
        outputs = {"do_a": Out(18 * count), "do_b": Out(18 * count)}
        super().__init__(members | outputs | {"clock_b": In(1)})

    def elaborate(self, platform):
        m = Module()
        for number, cell in enumerate(cells()):
            outputs = [getattr(self, name)[18 * number :][:18] for name in ("do_a", "do_b")]
            clocks = (ClockSignal(), self.clock_b if cell.split else ClockSignal())
            ports = self._dual(cell) if cell.kind == "DP16KD" else self._pseudo(cell)
            names = ("A", "B") if cell.kind == "DP16KD" else ("W", "R")
            for name, clock in zip(names, clocks, strict=True):
                ports[f"i_CLK{name}"] = clock
            if cell.inverted:
                ports[f"p_CLK{names[1]}MUX"] = "INV"
            if cell.kind == "DP16KD":
                ports |= _bus("o_DOA", outputs[0]) | _bus("o_DOB", outputs[1])
            else:
                ports |= _bus("o_DO", Cat(outputs))
            ports |= {"p_RESETMODE": cell.reset[0], "p_ASYNC_RESET_RELEASE": cell.reset[1]}
            m.submodules[f"cell_{number}"] = Instance(cell.kind, **ports, **_INIT)
        return m

    def _dual(self, cell: Cell) -> dict:
        ports = {}
        for p, port in enumerate("AB"):
            for name in ("ad", "di", "cs"):
                pin = getattr(self, f"{name}_{port.lower()}")
                ports |= _bus(f"i_{name.upper()}{port}", pin)
            for name in ("ce", "oce", "we", "rst"):
                ports[f"i_{name.upper()}{port}"] = getattr(self, f"{name}_{port.lower()}")
            ports[f"p_DATA_WIDTH_{port}"] = cell.widths[p]
            ports[f"p_WRITEMODE_{port}"] = cell.write_modes[p]
            ports[f"p_REGMODE_{port}"] = cell.register_modes[p]
            ports[f"p_CSDECODE_{port}"] = f"0b{cell.selects[p]:03b}"
        if cell.pseudo:
            ports["i_WEA"] = Const(1)
        return ports

    def _pseudo(self, cell: Cell) -> dict:
        return {
            **_bus("i_DI", Cat(self.di_a, self.di_b)),
            **_bus("i_BE", self.ad_a[:4]), **_bus("i_ADW", self.ad_a[5:]),
            **_bus("i_ADR", self.ad_b), **_bus("i_CSW", self.cs_a), **_bus("i_CSR", self.cs_b),
            "i_CEW": self.ce_a, "i_CER": self.ce_b, "i_OCER": self.oce_b, "i_RST": self.rst_a,
            "p_DATA_WIDTH_W": 36, "p_DATA_WIDTH_R": cell.widths[1],
            "p_REGMODE": cell.register_modes[1],
            "p_CSDECODE_W": f"0b{cell.selects[0]:03b}", "p_CSDECODE_R": f"0b{cell.selects[1]:03b}",
        }  # fmt: skip


@pytest.mark.parametrize(
    "case", ["initial_values", "reads_and_writes", "resets", "collisions_are_noise"]
)
def test_block_ram_model(case):
    """One case a run: each begins with the initial contents."""
    run_cocotb(AllCells(), "tests.netlist.bench_block_ram", "block_ram_cells", testcase=case,
               sources=BLOCK_RAM_MODELS)  # fmt: skip
