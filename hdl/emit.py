"""From Amaranth to text, without the initial values that nobody needs."""

import contextlib
from collections.abc import Iterator

from amaranth.back import rtlil, verilog
from amaranth.hdl import Elaboratable, Value
from amaranth.hdl._ir import PortDirection

Ports = dict[str, tuple[Value, PortDirection]]


def convert(top: Elaboratable, name: str, ports: Ports, platform: object = None) -> str:
    """Verilog of `top` as the module `name` with these ports."""
    with zero_memories_unsaid():
        # Source locations would change the text, and so every cache key, with each moved line.
        return verilog.convert(
            top, name=name, ports=ports, platform=platform, emit_src=False,
            strip_internal_attrs=True,
        )  # fmt: skip


@contextlib.contextmanager
def zero_memories_unsaid() -> Iterator[None]:
    """Inside, memories whose rows are all zero are written without initial values.

    The simulator starts them at zero anyway (--x-initial 0) and hardware is not asked what it
    holds before it is written, while Amaranth 0.5 makes an object a bit and yosys a statement a
    row: minutes, and gigabytes, for the memories of large devices.
    """
    original = rtlil.ModuleEmitter.emit_memory

    def emit_memory(self: rtlil.ModuleEmitter, cell_index: int, cell: object) -> None:
        if any(cell.init):
            original(self, cell_index, cell)

    rtlil.ModuleEmitter.emit_memory = emit_memory
    try:
        yield
    finally:
        rtlil.ModuleEmitter.emit_memory = original
