"""The small parts of hdl.lib: counters, states, choices, replicated registers."""

import pytest
from amaranth.hdl import Module, Signal, signed
from amaranth.lib.wiring import Component, In, Out

from hdl.lib.copies import Replicated
from hdl.lib.counters import CountDown, Occupancy
from hdl.lib.selection import gated, or_mux
from hdl.lib.states import OneHot
from tests.seeds import generator
from tests.units.lib_simulation import simulate

CYCLES = 800


class Loaded(Component):
    """A count that is loaded and goes on as the test says."""

    load: In(1)
    more: In(1)
    first: In(6)

    def __init__(self, end: int) -> None:
        self.count = CountDown(6, "words", end)
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        with m.If(self.load):
            m.d.sync += self.count.load(self.first, none=self.first == self.count.end - 1)
        with m.Elif(self.more):
            m.d.sync += self.count.step()
        return m


@pytest.mark.parametrize("end", [0, 1])
def test_count_down(end):
    """The flags are comparisons of what is left, in every cycle after the first load."""
    dut = Loaded(end)
    rng = generator("count down")

    async def play(ctx):
        left = None
        for cycle in range(CYCLES):
            beyond = left is None or left < end
            load, more = beyond or rng.random() < 0.05, rng.random() < 0.7
            first = rng.randrange(max(0, end - 1), 12)
            ctx.set(dut.load, load)
            ctx.set(dut.more, more)
            ctx.set(dut.first, first)
            if left is not None:
                assert ctx.get(dut.count.left) == left % 64, cycle
                assert ctx.get(dut.count.last) == (left == end)
                assert ctx.get(dut.count.none) == (left == end - 1)
            await ctx.tick()
            left = first if load else left - more

    simulate(dut, play)


def test_occupancy():
    """The flags of every level, with both at once, also when full."""
    dut = Occupancy(5)
    rng = generator("occupancy")

    async def play(ctx):
        level, levels = 0, set()
        for cycle in range(CYCLES):
            rising = cycle // 40 % 2
            leave = level > 0 and rng.random() < (0.3 if rising else 0.8)
            enter = (level < 5 or leave) and rng.random() < (0.9 if rising else 0.3)
            ctx.set(dut.enter, enter)
            ctx.set(dut.leave, leave)
            assert ctx.get(dut.count) == level
            flags = [ctx.get(flag) for flag in (dut.none, dut.one, dut.full)]
            assert flags == [level == 0, level == 1, level == 5]
            levels.add(level)
            await ctx.tick()
            level += enter - leave
        assert levels == set(range(6))

    simulate(dut, play)


class Machine(Component):
    """Goes to where `there` says from wherever it is, on `go`."""

    go: In(1)
    there: In(2)
    names = ("idle", "run", "drain")

    def __init__(self) -> None:
        self.states = OneHot(*self.names)
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        for here in self.names:
            for number, there in enumerate(self.names):
                if there != here:
                    with m.If(getattr(self.states, here) & self.go & (self.there == number)):
                        m.d.sync += self.states.go(here, there)
        return m


def test_one_hot_states():
    dut = Machine()
    rng = generator("states")

    async def play(ctx):
        here = 0
        for _ in range(CYCLES):
            found = [ctx.get(getattr(dut.states, name)) for name in dut.names]
            assert found == [number == here for number in range(3)]
            go, there = rng.getrandbits(1), rng.randrange(3)
            ctx.set(dut.go, go)
            ctx.set(dut.there, there)
            await ctx.tick()
            here = there if go else here

    simulate(dut, play)


def test_a_state_that_nobody_declared_is_an_error():
    with pytest.raises(AttributeError, match="no state running"):
        _ = OneHot("idle", "run").running


class Chosen(Component):
    a: In(signed(8))
    b: In(8)
    takes: In(2)
    out: Out(8)

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.out.eq(or_mux(gated(self.a, self.takes[0]), gated(self.b, self.takes[1])))
        return m


def test_or_mux():
    """A negative word keeps its bits; nobody's word is 0."""
    dut = Chosen()
    rng = generator("or mux")

    async def play(ctx):
        for _ in range(CYCLES):
            a, b, takes = rng.randrange(-128, 128), rng.getrandbits(8), rng.randrange(3)
            ctx.set(dut.a, a)
            ctx.set(dut.b, b)
            ctx.set(dut.takes, takes)
            await ctx.tick()
            assert ctx.get(dut.out) == (0, a & 0xFF, b)[takes]

    simulate(dut, play)


class Copied(Component):
    load: In(1)
    value: In(4)

    def __init__(self) -> None:
        self.copies = Replicated(4, ("near", "far"), init=9)
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        with m.If(self.load):
            m.d.sync += self.copies.eq(self.value)
        return m


def test_replicated_registers_agree():
    """And synthesis is told to keep each."""
    dut = Copied()
    rng = generator("copies")

    async def play(ctx):
        value = 9
        for _ in range(CYCLES):
            assert [ctx.get(dut.copies[k]) for k in range(2)] == [value, value]
            load, new = rng.getrandbits(1), rng.getrandbits(4)
            ctx.set(dut.load, load)
            ctx.set(dut.value, new)
            await ctx.tick()
            value = new if load else value

    simulate(dut, play)
    copies: list[Signal] = [dut.copies[k] for k in range(2)]
    assert [copy.attrs for copy in copies] == [{"keep": 1}] * 2
    assert len({copy.name for copy in copies}) == 2
