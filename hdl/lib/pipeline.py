"""Pipeline registers of datapaths: no reset, because a valid bit that has one goes along."""

from amaranth.hdl import Module, Signal, Value


def delayed(m: Module, value, cycles: int = 1, shape=None) -> Value:
    """`value` that many cycles later, in registers of `shape` (its own, if not given)."""
    for _ in range(cycles):
        if shape is None:
            held = Signal.like(value, name="held", reset_less=True)
        else:
            held = Signal(shape, name="held", reset_less=True)
        m.d.sync += held.eq(value)
        value = held
    return value
