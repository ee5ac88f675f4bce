"""Copies of a register, each for a part of the chip."""

from amaranth.hdl import Module, Signal, Value


def copy_of(m: Module, value, name: str, init: int | None = None) -> Signal:
    """A register of `value` that synthesis does not share with others of the same value.

    Its shape is value's, it is called `name`. Without `init` no reset clears it. What keeps it
    apart is `keep`, which host.flow.flows hands on to the flip-flops.
    """
    value = Value.cast(value)
    copy = Signal(
        value.shape(), name=name, init=init or 0, reset_less=init is None, attrs={"keep": 1}
    )
    m.d.sync += copy.eq(value)
    return copy
