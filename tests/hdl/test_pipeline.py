"""hdl.lib.pipeline: stages by name, and values that arrive where they are asked for."""

import pytest
from amaranth.hdl import Fragment, Module, Signal, signed
from amaranth.lib.data import StructLayout
from amaranth.sim import Simulator

from hdl.lib.pipeline import Pipeline, Stages, delayed
from tests.seeds import generator, seed

STAGES = Stages(address=1, memory=2, product=3)


def test_stages_say_their_cycles():
    assert [STAGES[name] for name in STAGES] == [1, 3, 6]
    assert STAGES.latency == 6 and STAGES["memory", -1] == 2
    assert STAGES.between("address", ("product", 1)) == 6
    assert repr(STAGES) == "Stages(address: 1, memory: 3, product: 6)"


def test_stages_behind_others():
    joined = STAGES.then(Stages(scaled=2, result=1))
    assert joined["scaled"] == 8 and joined.latency == 9 and joined["memory"] == 3
    with pytest.raises(ValueError, match="both"):
        STAGES.then(Stages(memory=1))


def test_stages_refuse_what_is_none():
    with pytest.raises(ValueError, match="at least one"):
        Stages()
    with pytest.raises(ValueError, match="stage b lies 2 cycles before"):
        Stages(a=3, b=-2)
    with pytest.raises(KeyError, match="no stage gain; there are address, memory, product"):
        STAGES["gain"]


def test_too_early_is_an_error():
    pipeline = Pipeline(m := Module(), STAGES)
    data = pipeline.carry(Signal(8, name="data"), "memory", after=2)
    with pytest.raises(ValueError, match="data is asked for at memory, 2 cycles too early"):
        data["memory"]
    assert data["memory", 2] is data["product", -1]  # nothing but the value itself
    Fragment.get(m, None)


@pytest.mark.parametrize("product", [2, 3, 5])
def test_a_register_more_is_one_number(product):
    """A product that takes two cycles, its mask and its valid bit leave together, `latency` cycles
    after they came, whatever the number of registers."""
    stages = Stages(start=0, memory=1, product=product)
    m = Module()
    pipeline = Pipeline(m, stages)
    value, mask, valid = Signal(signed(8)), Signal(8), Signal()
    entered = pipeline.carry(value, "start")
    inside = delayed(m, entered["memory"] + 1, 2)
    outputs = [Signal(signed(9)), Signal(8), Signal()]
    with m.If(valid):  # where a value is asked for does not matter
        at_end = pipeline.carry(inside, "memory", after=2)["product"]
    m.d.comb += [
        outputs[0].eq(at_end),
        outputs[1].eq(pipeline.carry(mask, "start")["product"]),
        outputs[2].eq(pipeline.carry(valid, "start", reset=True)["product"]),
    ]
    rng = generator(f"pipeline {seed()} {product}")
    vectors = [(rng.randint(-128, 127), rng.getrandbits(8), rng.getrandbits(1)) for _ in range(40)]
    seen = []

    async def process(ctx):
        for vector in vectors:
            for signal, number in zip((value, mask, valid), vector, strict=True):
                ctx.set(signal, number)
            seen.append(tuple(ctx.get(output) for output in outputs))
            await ctx.tick()

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(process)
    simulator.run()
    expected = [(v + 1, k, b) for v, k, b in vectors]
    assert stages.latency == 1 + product
    assert seen[stages.latency :] == expected[: -stages.latency]


def test_layouts_and_resets():
    layout = StructLayout({"gain": 8, "valid": 1})
    pipeline = Pipeline(m := Module(), STAGES)
    data = pipeline.carry(Signal(layout, name="word"), "address")["product"]
    assert data.shape() == layout and data.as_value().reset_less
    valid = pipeline.carry(Signal(name="valid", init=1), "address", reset=True)["memory"]
    assert valid.name == "valid_3" and not valid.reset_less and valid.init == 0
    wide = pipeline.carry(Signal(4), "memory", shape=signed(6))["product"]
    assert wide.shape() == signed(6)
    Fragment.get(m, None)
