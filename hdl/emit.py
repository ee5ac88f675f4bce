"""Verilog of a design, made quickly and without the initial values that nobody needs."""

import contextlib
import gc
from collections.abc import Iterator

from amaranth.back import rtlil, verilog
from amaranth.hdl import Elaboratable, Value
from amaranth.hdl._ir import PortDirection

Ports = dict[str, tuple[Value, PortDirection]]


def convert(top: Elaboratable, name: str, ports: Ports, platform: object = None) -> str:
    """Verilog of `top` as the module `name` with these ports."""
    with elaborating():
        # With source locations a line that moves would change the text, and so every cache's key.
        return verilog.convert(
            top, name=name, ports=ports, platform=platform, emit_src=False,
            strip_internal_attrs=True,
        )  # fmt: skip


@contextlib.contextmanager
def elaborating() -> Iterator[None]:
    """A context in which elaboration is faster and writes less.

    All objects of a netlist live until it is written, so Python's garbage collector is off: it
    would look at millions of them again and again, for more than half of the time.

    Memories whose rows are all zero are written without initial values. The simulator starts them
    at zero anyway (--x-initial 0) and hardware is not asked what it holds before it is written,
    while Amaranth 0.5 makes an object a bit and yosys a statement a row: minutes, and gigabytes,
    for the memories of large devices.
    """
    original = rtlil.ModuleEmitter.emit_memory

    def emit_memory(self: rtlil.ModuleEmitter, cell_index: int, cell: object) -> None:
        if any(cell.init):
            original(self, cell_index, cell)

    rtlil.ModuleEmitter.emit_memory = emit_memory
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        rtlil.ModuleEmitter.emit_memory = original
        if collects:
            gc.enable()
