"""spikelet build and spikelet flash as a user sees them."""

import stat
import subprocess

import pytest

from hdl.boards import BOARDS, board
from hdl.boards.uart_link import UartLink
from host.flow.speed import Speed
from host.flow.vendor import write_project
from sim.toolchain import find_verilator
from tests.host import fake
from tests.host.small_designs import SmallCore, SmallDesign, small

# What a vendor's simulation library would bring, as far as our tops use it.
CELLS = """
module IB(input I, output O); assign O = I; endmodule
module OBZ(input I, T, output O); assign O = T ? 1'bz : I; endmodule
module IBUF(input I, output O); assign O = I; endmodule
module TBUF(input I, OEN, output O); assign O = OEN ? 1'bz : I; endmodule
module OBUFT(input I, T, output O); assign O = T ? 1'bz : I; endmodule
module BUFG(input I, output O); assign O = I; endmodule
module FD1S3BX(input CK, D, PD, output reg Q);
  always @(posedge CK or posedge PD) if (PD) Q <= 1; else Q <= D; endmodule
module FDPE(input C, CE, D, PRE, output reg Q); parameter INIT = 0;
  always @(posedge C or posedge PRE) if (PRE) Q <= 1; else if (CE) Q <= D; endmodule
module SB_IO(input D_OUT_0, OUTPUT_ENABLE, output D_IN_0, inout PACKAGE_PIN);
  parameter PIN_TYPE = 0; parameter IO_STANDARD = ""; parameter PULLUP = 0;
  assign PACKAGE_PIN = OUTPUT_ENABLE ? D_OUT_0 : 1'bz; assign D_IN_0 = PACKAGE_PIN; endmodule
module SB_GB_IO(input PACKAGE_PIN, output GLOBAL_BUFFER_OUTPUT);
  parameter PIN_TYPE = 0; parameter IO_STANDARD = "";
  assign GLOBAL_BUFFER_OUTPUT = PACKAGE_PIN; endmodule
module EHXPLLL(input CLKI, CLKFB, RST, STDBY, PHASESEL0, PHASESEL1, PHASEDIR, PHASESTEP,
  PHASELOADREG, PLLWAKESYNC, ENCLKOP, ENCLKOS, output CLKOP, CLKOS, LOCK);
  parameter PLLRST_ENA = "", INTFB_WAKE = "", STDBY_ENABLE = "", DPHASE_SOURCE = "",
    FEEDBK_PATH = "", OUTDIVIDER_MUXA = "", OUTDIVIDER_MUXB = "", CLKI_DIV = 1, CLKFB_DIV = 1,
    CLKOP_ENABLE = "", CLKOP_DIV = 1, CLKOP_CPHASE = 0, CLKOP_FPHASE = 0,
    CLKOS_ENABLE = "", CLKOS_DIV = 1, CLKOS_CPHASE = 0, CLKOS_FPHASE = 0;
  assign CLKOP = CLKI; assign CLKOS = CLKI; assign LOCK = 1; endmodule
module PLLE2_BASE(input CLKIN1, CLKFBIN, RST, PWRDWN, output CLKFBOUT, CLKOUT0, LOCKED);
  parameter CLKIN1_PERIOD = 1.0, DIVCLK_DIVIDE = 1, CLKFBOUT_MULT = 1, CLKOUT0_DIVIDE = 1;
  assign CLKFBOUT = CLKIN1; assign CLKOUT0 = CLKIN1; assign LOCKED = 1; endmodule
"""
CONSTRAINTS = {"ulx3s_85f": "spikelet.lpf", "tang_primer_20k": "spikelet.cst",
               "tang_mega_138k": "spikelet.cst",
               "icebreaker": "spikelet.pcf", "arty_a7_100": "spikelet.xdc"}


def lint(*files) -> str:
    """What Verilator says of Verilog; empty when it has nothing to say."""
    tool = find_verilator()
    run = subprocess.run(
        [tool.program, "--lint-only", "-Wno-lint", "-Wno-style", "--top-module", "spikelet",
         *files], env=tool.environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    return run.stderr if run.returncode else ""


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_verilog_and_constraints_of_every_family(tmp_path, name: str) -> None:
    files = write_project(small(name, dict(block=True)), tmp_path / "project")
    assert all(path.is_file() for path in files)
    names = [path.name for path in files]
    assert "spikelet.v" in names and CONSTRAINTS[name] in names
    constraints = (tmp_path / "project" / CONSTRAINTS[name]).read_text()
    platform = board(name).platform_class()()
    for line in platform.lookup(*board(name).link.uart).ios:
        if line.name in ("rx", "tx"):
            assert line.ios[0].names[0] in constraints
    cells = tmp_path / "cells.v"
    cells.write_text(CELLS)
    assert lint(tmp_path / "project" / "spikelet.v", cells) == ""
    if name == "arty_a7_100":
        script = (tmp_path / "project" / "spikelet.tcl").read_text()
        assert "xc7a100ticsg324-1L" in script and "add_files spikelet.v" in script


def test_lint_finds_a_mistake(tmp_path) -> None:
    (tmp_path / "wrong.v").write_text("module spikelet(input a); missing m(.a(a)); endmodule\n")
    assert "missing" in lint(tmp_path / "wrong.v")


@pytest.fixture
def small_cores(monkeypatch) -> None:
    """Small circuits in every board that the command line builds."""

    def design(chosen, sizes, image, hertz, seed, timing_driven):
        from isa.contents import EMPTY, contents

        held = EMPTY if image is None else contents(image, sizes)
        return SmallDesign(chosen, sizes, held, hertz, seed, timing_driven, core=SmallCore)

    monkeypatch.setattr("host.cli.build._design", design)


@pytest.mark.extra  # synthesis, place and route
def test_a_bitstream_from_the_command_line(run, small_cores, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SPIKELET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("host.flow.speed.derive", lambda image, tell: Speed(64, 5000, 0))
    fake.image().save(tmp_path / "model.image")
    out = tmp_path / "out"
    got = run("build", "--board", "ulx3s_25f", "--model", tmp_path / "model.image", "--out", out)
    assert got.status == 0, got.err
    for stage in ("elaboration", "synthesis", "placement", "routing", "packing"):
        assert f"building tiny for ulx3s_25f: {stage}" in got.err
    bitstream = out / "ulx3s_25f-tiny.bit"
    assert bitstream.stat().st_size > 10_000 and (out / "report.json").is_file()
    table = {line.split("  ")[0]: line for line in got.out.splitlines()}
    assert "of 24,288" in table["logic cells"] and "of 56" in table["block RAMs"]
    assert table["multipliers"].split()[-1] == "0"
    assert "MHz routed, 50 MHz asked for" in table["clock"]
    assert "16 additions a cycle" in table["lanes"]
    assert "10,000.0 derived: 5,000 cycles at position 64" in table["tokens a second"]
    assert "from the cache" not in table["build"]
    again = run("build", "--board", "ulx3s_25f", "--config", "tiny", "--out", out)
    assert "no model given" in again.out


def test_verilog_from_the_command_line(run, small_cores, tmp_path) -> None:
    got = run("build", "--board", "arty_a7_100", "--verilog", "--out", tmp_path)
    assert got.status == 0, got.err
    assert "for AMD's tools, not run here" in got.out and (tmp_path / "spikelet.xdc").is_file()


def test_boards_are_listed(run) -> None:
    got = run("build")
    assert got.status == 0 and all(name in got.out for name in BOARDS)


def test_streamed_weights_are_bound_by_the_line() -> None:
    speed = Speed(64, 10_000, 30_000)
    line = UartLink(3_000_000).words_a_second
    assert speed.tokens_a_second(80e6, line) == pytest.approx(3e6 * 0.9 / 40 / 30_000)
    assert Speed(64, 10_000, 0).tokens_a_second(80e6, line) == pytest.approx(8000)


@pytest.mark.parametrize(("arguments", "words"), [
    (["--board", "ulx4s"], "no board 'ulx4s'; choose one of:"),
    (["--board", "ulx3s_85f", "--config", "huge"], "no configuration 'huge'"),
    (["--board", "ulx3s_85f", "--model", "no/such/model"], "no/such/model"),
    (["--board", "ulx3s_85f", "--weights", "resident"], "give --model, too"),
    (["--board", "ulx3s_85f", "--clock-mhz", "-3"], "--clock-mhz is -3: give a number from 1"),
    (["--board", "ulx3s_85f", "--clock-mhz", "900"], "PLL cannot make 900 MHz from 25 MHz"),
    (["--board", "icebreaker", "--clock-mhz", "24"], "run at their own clock only"),
    (["--board", "arty_a7_100"], "no open tools build for arty_a7_100"),
    (["--board", "ulx3s_25f", "--config", "ulx3s"], "115 more than its 56"),
    (["--board", "ulx3s_85f", "--out", "/dev/null/x"], "cannot write to /dev/null/x"),
])  # fmt: skip
def test_mistakes_are_one_line(run, tmp_path, monkeypatch, arguments, words) -> None:
    monkeypatch.chdir(tmp_path)
    got = run("build", *arguments)
    assert got.status == 2 and words in got.err
    assert got.err.splitlines()[-1].startswith("spikelet: ")


def test_a_model_for_another_configuration(run, tmp_path) -> None:
    fake.image().save(tmp_path / "model.image")
    got = run("build", "--board", "ulx3s_85f", "--config", "ulx3s", "--model",
              tmp_path / "model.image")
    assert got.status == 2 and "made for the configuration 'tiny'" in got.err


def loader(tmp_path, monkeypatch, script: str):
    """A script in openFPGALoader's place, and a bitstream to hand it."""
    path = tmp_path / "loader"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("OPENFPGALOADER", str(path))
    (tmp_path / "a.bit").write_bytes(b"bits")
    return tmp_path / "a.bit"


@pytest.mark.parametrize(("options", "mode"), [([], "--write-sram"),
                                               (["--permanent"], "--write-flash")])
def test_flash_hands_the_bitstream_over(run, tmp_path, monkeypatch, options, mode) -> None:
    bitstream = loader(tmp_path, monkeypatch, f'echo "$@" > {tmp_path}/arguments')
    got = run("flash", "--board", "ulx3s_85f", *options, bitstream)
    assert got.status == 0, got.err
    assert (tmp_path / "arguments").read_text().split() == ["-b", "ulx3s", mode, str(bitstream)]


@pytest.mark.parametrize(("script", "words"), [
    ("echo 'unable to open ftdi device: -3 (device not found)'; exit 1",
     "no ulx3s_85f found: attach it"),
    ("echo 'x: error while loading shared libraries: libusb-1.0.so.0: cannot open'; exit 127",
     "needs the system's libusb-1.0"),
    ("echo 'Error: wrong device'; exit 1", "openFPGALoader failed: Error: wrong device"),
    ("exit 1", "openFPGALoader failed: without a word"),
])  # fmt: skip
def test_flash_says_what_is_wrong(run, tmp_path, monkeypatch, script, words) -> None:
    got = run("flash", "--board", "ulx3s_85f", loader(tmp_path, monkeypatch, script))
    assert got.status == 2 and words in got.err and len(got.err.splitlines()) == 1


def test_flash_without_board_file_or_tool(run, tmp_path, monkeypatch) -> None:
    bitstream = loader(tmp_path, monkeypatch, "exit 0")
    assert "no board 'x'" in run("flash", "--board", "x", bitstream).err
    missing = run("flash", "--board", "ulx3s_85f", tmp_path / "no.bit")
    assert missing.status == 2 and "is not a file: make one with spikelet build" in missing.err
    monkeypatch.setenv("OPENFPGALOADER", str(tmp_path / "none"))
    assert "OPENFPGALOADER is" in run("flash", "--board", "ulx3s_85f", bitstream).err


