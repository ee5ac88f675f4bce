"""Pipelines that know their stages: what arrives together says so by name, not by a number.

`Stages` says how many registers lie between one stage and the next. It needs no elaboration: a unit
exports its latency, and tests and docstrings read it there. `Pipeline` builds the registers:

    STAGES = Stages(address=0, memory=2, product=3)      # STAGES.latency == 5

    pipeline = Pipeline(m, STAGES)
    mask = pipeline.carry(mask, "address")                # known with the address
    product = pipeline.carry(multiply(data), "memory", after=3)
    m.d.comb += result.eq(product["product"] & mask["product"])

To give the product a register more for the clock, `product=3` becomes `product=4`: the register is
appended to the product, and the mask follows.
"""

from amaranth.hdl import Module, Signal, Value
from amaranth.lib.data import View

Moment = str | tuple[str, int]
"""A stage, or a stage and how many cycles behind it (below 0: before it)."""


class Stages:
    """The stages of a pipeline in order, each with the registers between it and the one before.

    The first one's number is usually 0: cycles are counted from there. `stages["name"]` is the
    cycle of a stage, `latency` that of the last one.
    """

    def __init__(self, **registers: int) -> None:
        if not registers:
            raise ValueError("a pipeline has at least one stage")
        self._cycles: dict[str, int] = {}
        cycle = 0
        for name, count in registers.items():
            if count < 0:
                raise ValueError(f"stage {name} lies {-count} cycles before the one in front of it")
            cycle += count
            self._cycles[name] = cycle

    def __getitem__(self, moment: Moment) -> int:
        """The cycle of a stage, or of so many cycles behind it."""
        name, offset = moment if isinstance(moment, tuple) else (moment, 0)
        if name not in self._cycles:
            raise KeyError(f"no stage {name}; there are {', '.join(self._cycles)}")
        return self._cycles[name] + offset

    def __iter__(self):
        """The names, in order."""
        return iter(self._cycles)

    @property
    def latency(self) -> int:
        """The cycle of the last stage."""
        return max(self._cycles.values())

    def between(self, start: Moment, end: Moment) -> int:
        """Registers on the way from one moment to a later one."""
        return self[end] - self[start]

    def then(self, following: "Stages") -> "Stages":
        """This pipeline and another behind it, whose first stage comes its own number of registers
        behind our last."""
        joined = {**self._registers(), **following._registers()}
        if len(joined) != len(self._cycles) + len(following._cycles):
            raise ValueError("the same stage is in both pipelines")
        return Stages(**joined)

    def _registers(self) -> dict[str, int]:
        before, registers = 0, {}
        for name, cycle in self._cycles.items():
            registers[name], before = cycle - before, cycle
        return registers

    def __repr__(self) -> str:
        return f"Stages({', '.join(f'{name}: {cycle}' for name, cycle in self._cycles.items())})"


class Pipeline:
    """Registers between the stages of a datapath in `m`, built where a carried value is asked for.

    They move in every cycle. They stand in a submodule of their own, so that it does not matter
    where in `m` a value is asked for (also inside `m.If`).
    """

    def __init__(self, m: Module, stages: Stages) -> None:
        self.stages = stages
        self._registers = Module()
        m.submodules += self._registers

    def carry(
        self, value, start: Moment, *, after: int = 0, name: str | None = None, reset: bool = False,
        shape=None,
    ) -> "Carried":
        """`value`, which is there `after` cycles behind the moment `start`, at any later moment.

        `after` is what made the value took itself. `reset`: whether a reset clears it on its way,
        as it must what says that a word is valid; data needs none. `shape` is that of the registers
        (the value's own, if not given).
        """
        return Carried(self, value, self.stages[start] + after, name, reset, shape)


class Carried:
    """A value on its way: `carried["stage"]` is what it is worth at that stage."""

    def __init__(self, pipeline: Pipeline, value, cycle: int, name: str | None, reset: bool,
                 shape) -> None:  # fmt: skip
        self._pipeline, self._start = pipeline, cycle
        self._reset, self._shape = reset, shape
        self._name = name or getattr(value, "name", "carried")
        self._at = [value]  # of each cycle from the start on

    def __getitem__(self, moment: Moment) -> Value | View:
        """The value at a moment. Raises ValueError where it is not there yet."""
        cycles = self._pipeline.stages[moment] - self._start
        if cycles < 0:
            raise ValueError(f"{self._name} is asked for at {moment}, {-cycles} cycles too early")
        while len(self._at) <= cycles:
            self._at.append(self._held(self._at[-1]))
        return self._at[cycles]

    def _held(self, value) -> Signal | View:
        shape = self._shape if self._shape is not None else _shape(value)
        cycle = self._start + len(self._at)
        held = Signal(shape, name=f"{self._name}_{cycle}", reset_less=not self._reset)
        self._pipeline._registers.d.sync += held.eq(value)
        return held


def delayed(m: Module, value, cycles: int = 1, shape=None, name: str = "held") -> Value:
    """`value` that many cycles later, in registers of `shape` (its own, if not given).

    They are called `name` and have no reset: a valid bit that has one goes along.
    """
    for _ in range(cycles):
        if shape is None:
            held = Signal.like(value, name=name, reset_less=True)
        else:
            held = Signal(shape, name=name, reset_less=True)
        m.d.sync += held.eq(value)
        value = held
    return value


def _shape(value):
    return value.shape() if isinstance(value, View) else Value.cast(value).shape()
