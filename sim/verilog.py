"""An Amaranth component as Verilog text, or as RTLIL for synthesis."""

from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, Const, Module, Value
from amaranth.hdl._ir import PortDirection
from amaranth.lib import wiring

from hdl.emit import convert


def to_verilog(component: wiring.Component, name: str, platform: object = None) -> str:
    """Verilog of `component` as the module `name`.

    Ports: clk and rst (always, also of a combinational component), then one for each member of
    the signature, its path joined by two underscores: a stream `i` has i__payload, i__valid and
    i__ready, the stream [1] of an array `o` has o__1__payload and so on. A payload is one vector
    whatever its layout; constants (always_ready) and members of no width have no port.
    """
    top, ports = _top(component, name)
    return convert(top, name, ports, platform)


def to_rtlil(component: wiring.Component, name: str, platform: object = None) -> str:
    """RTLIL of `component` with the same ports, and with every initial value of its memories."""
    top, ports = _top(component, name)
    return rtlil.convert(top, name=name, ports=ports, emit_src=False, platform=platform)


def _top(component: wiring.Component, name: str) -> tuple[Module, dict]:
    ports = {}
    for path, member, value in component.signature.flatten(component):
        value = Value.cast(value)
        if not isinstance(value, Const) and len(value):
            is_input = member.flow == wiring.In
            direction = PortDirection.Input if is_input else PortDirection.Output
            ports["__".join(map(str, path))] = (value, direction)
    if name in ports or name in ("clk", "rst"):
        raise ValueError(f"the module name {name!r} is also the name of a port")
    sync = ClockDomain("sync")
    ports["clk"] = (sync.clk, PortDirection.Input)
    ports["rst"] = (sync.rst, PortDirection.Input)
    top = Module()
    top.domains.sync = sync
    top.submodules.dut = component
    return top, ports
