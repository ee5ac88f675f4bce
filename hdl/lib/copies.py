"""Registers that are kept several times, each copy for a part of the chip."""

from collections.abc import Sequence

from amaranth.hdl import Module, Signal, Value

_KEEP = {"keep": 1}  # synthesis does not share it; host.flow.flows hands it on to the flip-flops


def copy_of(m: Module, value, name: str, init: int | None = None) -> Signal:
    """A register of `value` that synthesis does not share with others of the same value.

    Its shape is value's, it is called `name`. Without `init` no reset clears it.
    """
    value = Value.cast(value)
    copy = Signal(
        value.shape(), name=name, init=init or 0, reset_less=init is None, attrs=dict(_KEEP)
    )
    m.d.sync += copy.eq(value)
    return copy


class Replicated:
    """One register in several copies that always agree: `copies[k]` for the k-th of its readers.

    For a decision with more readers than a wire reaches in a cycle. `eq` loads all of them, under
    whatever condition; nothing else may write one.
    """

    def __init__(self, shape, names: Sequence[str], init: int = 0) -> None:
        self._copies = [Signal(shape, name=name, init=init, attrs=dict(_KEEP)) for name in names]

    def __getitem__(self, reader: int) -> Signal:
        return self._copies[reader]

    def eq(self, value) -> list:
        """For m.d.sync: `value` in every copy."""
        return [copy.eq(value) for copy in self._copies]
