"""Writes a project for the vendor's own tools: Verilog, constraints, and a script for some."""

from pathlib import Path

from amaranth.back import verilog

from hdl.boards.board import Family
from host.flow.design import Design
from host.flow.flows import TOP

_TOOLCHAINS = {Family.ecp5: "Diamond", Family.gowin: "Gowin", Family.xilinx: "Vivado"}
_SUFFIXES = (".v", ".lpf", ".cst", ".pcf", ".xdc", ".sdc", ".tcl")


def write_project(design: Design, folder: Path) -> list[Path]:
    """Writes the Verilog and the constraints of a board's design; returns the files, sorted.

    Diamond (ECP5), Gowin's tools and Vivado also get the script that Amaranth makes for them.
    Nothing of this is run here.
    """
    files = design.plan(_TOOLCHAINS.get(design.board.family)).files
    texts = {name: text for name, text in files.items()
             if name.endswith(_SUFFIXES) and not name.endswith(".debug.v")}
    if f"{TOP}.v" not in texts:  # Amaranth writes Verilog for a vendor only
        texts[f"{TOP}.v"] = verilog._convert_rtlil_text(files[f"{TOP}.il"],
                                                        strip_internal_attrs=True)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text if isinstance(text, str) else text.decode())
    return sorted(folder / name for name in texts)
