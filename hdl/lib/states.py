"""A state machine with a flip-flop for each state: what a state decides asks for one bit."""

from amaranth.hdl import Signal


class OneHot:
    """States by name, exactly one of which holds. `states.idle` is whether it is that one.

    Where `go` is conditional, give the condition around it:

        states = OneHot("idle", "run", "drain")       # begins in the first
        with m.If(states.idle & start):
            m.d.sync += states.go("idle", "run")

    It writes the two bits concerned and no others: what one state decides is not on the way of
    the rest, however late it comes.
    """

    def __init__(self, *names: str, name: str = "state") -> None:
        self._bits = {
            state: Signal(name=f"{name}_{state}", init=state == names[0]) for state in names
        }

    def __getattr__(self, state: str) -> Signal:
        try:
            return self.__dict__["_bits"][state]
        except KeyError:
            raise AttributeError(f"no state {state}") from None

    def go(self, here: str, there: str) -> list:
        """For m.d.sync, in a cycle of the state `here`: the next cycle is one of `there`."""
        return [self._bits[here].eq(0), self._bits[there].eq(1)]
