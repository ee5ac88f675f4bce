"""Counters whose comparisons are made a cycle before they are needed, and wait in registers.

A comparison behind a counter is long, and what it decides is often long, too. These keep the
answer beside the count: `last` and `none`, `full` and so on are registers, right in every cycle.
"""

from amaranth.hdl import Module, Signal, Value
from amaranth.lib.wiring import Component, In, Out


class CountDown:
    """What is left of something that goes on step by step.

    `left` counts down to `end` (default 1) for the last step: `last` says that it is there, `none`
    that it is beyond. What `load` and `step` return is for m.d.sync, under conditions of the
    user's; one of them a cycle, the later one counts.
    """

    def __init__(self, bits: int, name: str, end: int = 1) -> None:
        self.end = end
        self.left = Signal(bits, name=f"{name}_left")
        self.last = Signal(name=f"{name}_last")
        self.none = Signal(name=f"{name}_none", init=1)

    def load(self, left: Value, last: Value | None = None, none: Value | int = 0) -> list:
        """Begins with so many. `last` and `none`: the same comparisons of `left`, where the user
        has them earlier than from `left` itself (none: there may be nothing to begin with)."""
        last = left == self.end if last is None else last
        return [self.left.eq(left), self.last.eq(last), self.none.eq(none)]

    def step(self) -> list:
        """One of them is done."""
        return [
            self.left.eq(self.left - 1),
            self.last.eq(self.left == self.end + 1),
            self.none.eq(self.last),
        ]


class Occupancy(Component):
    """How many of at most `most` are under way: `enter` adds one, `leave` removes one.

    Both may come late in their cycle, and together. `none`, `one` and `full` are registers. The
    user enters none while `full`, unless one leaves in the same cycle.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        super().__init__(
            {
                "enter": In(1),
                "leave": In(1),
                "count": Out(range(most + 1)),
                "none": Out(1, init=1),
                "one": Out(1),
                "full": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        with m.If(self.enter != self.leave):
            with m.If(self.enter):
                m.d.sync += [
                    self.count.eq(self.count + 1),
                    self.none.eq(0),
                    self.one.eq(self.none),
                    self.full.eq(self.count == self._most - 1),
                ]
            with m.Else():
                m.d.sync += [
                    self.count.eq(self.count - 1),
                    self.none.eq(self.one),
                    self.one.eq(self.count == 2),
                    self.full.eq(0),
                ]
        return m
