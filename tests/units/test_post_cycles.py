"""Exact cycles of hdl.units.post, counted by the stages that the unit exports."""

import re
from itertools import pairwise
from pathlib import Path

import cocotb
import pytest

from hdl.units.post.post import Post
from hdl.units.post.stages import STAGES, TILE_TAKEN, reduction_stages
from isa.configurations import Configuration, configuration
from tests.cocotb_support import run_cocotb, start
from tests.units.test_post import Bench, make_world

SPACING = 3  # cycles from the first word of a short instruction to that of the next one
DOCUMENT = Path(__file__).parents[2] / "docs" / "architecture.md"


def latency(c: Configuration, fields: dict[str, int]) -> int:
    """Cycles from the instruction's last word to its done."""
    if fields["use_maximum"] | fields["argmax"]:
        return STAGES.latency + reduction_stages(c)["maximum"]
    return Post.DONE_LATENCY


@cocotb.test()
async def done_comes_in_order(dut):
    """A short instruction right behind one with a maximum: its done stays behind, none is lost. Its
    word is asked for SPACING cycles later, so that with few lanes there is nothing to wait for."""
    await start(dut)
    world = make_world("order")
    bench = Bench(dut, world, 0.0, 0.0)
    plain = dict(dynamic_count=0, lane_offset=0, stream=0, use_bias=0, to_host=0, use_residual=0)
    slow = plain | dict(count=8 * world.c.lanes, argmax=1, use_maximum=1)
    quick = plain | dict(count=1, argmax=0, use_maximum=0)
    await bench.run([world.random_case(**(quick if k % 2 else slow)) for k in range(12)])
    before, behind = latency(world.c, slow), latency(world.c, quick)
    if before - behind >= SPACING:  # the same way, else a shorter one
        behind = before
    expected = SPACING + behind - before
    assert {b - a for a, b in list(pairwise(bench.done_cycles))[::2]} == {expected}


@cocotb.test()
async def throughput(dut):
    """A word a cycle, TILE_TAKEN cycles between tiles; short instructions every SPACING cycles."""
    await start(dut)
    world = make_world("throughput")
    c = world.c
    a_tile, tiles = c.lanes // c.vector_lanes, 6
    plain = dict(
        count=tiles * c.lanes, dynamic_count=0, lane_offset=0, stream=0, use_bias=0, to_host=0,
        to_vector=1, use_residual=0, destination=0, key_exponents=0, segment=0,
    )  # fmt: skip
    bench = Bench(dut, world, 0.0, 0.0)
    cases = [world.random_case(**plain) for _ in range(4)]
    await bench.run(cases)
    first = bench.pop_cycles[0] - (a_tile - 1) - TILE_TAKEN  # its cycle 0 in stages.STAGES
    period = a_tile + TILE_TAKEN
    asked = [first + period * t + w for t in range(4 * tiles) for w in range(a_tile)]
    assert bench.write_cycles == [cycle + Post.WRITE_LATENCY for cycle in asked]
    last_words = asked[tiles * a_tile - 1 :: tiles * a_tile]
    latencies = [latency(c, case.fields) for case in cases]
    assert bench.done_cycles == [t + n for t, n in zip(last_words, latencies, strict=True)]

    bench = Bench(dut, world, 0.0, 0.0)
    await bench.run([world.random_case(**plain | {"count": 1}) for _ in range(8)])
    assert {b - a for a, b in pairwise(bench.write_cycles)} == {SPACING}

    bench = Bench(dut, world, 0.0, 0.0)
    await bench.run([world.random_case(**plain | {"use_parameters": 1, "use_bias": 1})])
    spread = bench.write_cycles[-1] - bench.write_cycles[0] + 1
    assert spread <= tiles * (3 * a_tile + TILE_TAKEN)


@pytest.mark.cycles
@pytest.mark.parametrize("name", ["tiny", "minimal", "ulx3s"])
def test_post_cycles(name):
    c = configuration(name)
    run_cocotb(Post(c), __name__, f"post_{name}", {"configuration": name})


@pytest.mark.cycles
def test_the_document_says_how_many_stages():
    """As the unit exports it."""
    found = re.findall(r"A pipeline of (\d+) stages", DOCUMENT.read_text(encoding="utf-8"))
    assert found == [str(STAGES.latency)]
