"""A submodule's ports as those of the module around it."""

from collections.abc import Iterable

from amaranth.hdl import Module
from amaranth.lib.wiring import Component, In, connect, flipped


def pass_ports(m: Module, inner: Component, outer: Component, names: Iterable[str]) -> None:
    """Joins the named ports of `inner`, a submodule, to those of `outer` with the same names.

    Both signatures have the same members by these names: signals or whole interfaces.
    """
    for name in names:
        member = inner.signature.members[name]
        inside, outside = getattr(inner, name), getattr(outer, name)
        if member.is_signature:
            connect(m, inside, flipped(outside))
        elif member.flow is In:
            m.d.comb += inside.eq(outside)
        else:
            m.d.comb += outside.eq(inside)
