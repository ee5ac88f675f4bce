"""The whole-device comparison finds one wrong bit and says where it is."""

import numpy as np
import pytest

from golden.device.device import GoldenDevice
from host.compiler.compile import compile_model
from host.driver import Driver
from host.transport.golden import GoldenTransport
from host.verify import first_mismatch
from isa.configurations import configuration
from sim.simulated_device import TRACE_KINDS, trace_dtype
from tests.golden.models import SEED, TINY
from tests.system.pairs import random_model


@pytest.fixture(scope="module")
def run():
    """(image, golden trace, the same trace as a simulated device's records)."""
    c = configuration("tiny")
    image = compile_model(random_model(TINY, SEED), c)
    transport = GoldenTransport(c)
    driver = Driver(transport, image)
    device: GoldenDevice = transport.device
    device.trace = []
    driver.generate([1, 2, 3], 2)
    records = []
    for cycle, write in enumerate(device.trace):
        for n, data in enumerate(write.data.reshape(-1, c.vector_lanes)):
            codes = write.unit == "key_value"
            records.append((cycle, 0 if codes else write.address + n, TRACE_KINDS.index(write.unit),
                            write.exponents[n] if codes else 0, data))  # fmt: skip
    return image, device.trace, np.array(records, dtype=trace_dtype(c.vector_lanes))


def written(run, label: str, position: int) -> int:
    """Index of the first record of an operator at a position."""
    image, trace, _ = run
    at = 0
    for write in trace:
        if image.model["labels"][write.pc] == label and write.position == position:
            return at
        at += write.data.size // configuration("tiny").vector_lanes
    raise AssertionError(f"{label} was not written at position {position}")


def test_equal_traces(run) -> None:
    assert first_mismatch(*run) is None


@pytest.mark.parametrize("label", ["layers.1.silu", "layers.0.score.3", "layers.1.value"])
def test_a_wrong_element_is_named(run, label: str) -> None:
    image, trace, records = run
    broken = records.copy()
    at = written(run, label, 2)
    right = int(broken["data"][at][1])
    broken["data"][at][1] ^= 4
    layer, operator = label.removeprefix("layers.").split(".", 1)
    text = str(first_mismatch(image, trace, broken))
    assert text == (
        f"layer {layer}, {operator}, position 2, element 1: expected {right}, got {right ^ 4}"
    )


def test_the_first_of_several_is_reported(run) -> None:
    image, trace, records = run
    broken = records.copy()
    for label, position in (("layers.1.down", 1), ("layers.0.gate", 1), ("embedding", 2)):
        broken["data"][written(run, label, position)][0] += 1
    assert str(first_mismatch(image, trace, broken)).startswith("layer 0, gate, position 1,")


def test_missing_and_misplaced_writes(run) -> None:
    image, trace, records = run
    short = str(first_mismatch(image, trace, records[:-1]))
    assert "nothing written" in short
    longer = np.concatenate([records, records[-1:]])
    assert "no more writes" in str(first_mismatch(image, trace, longer))
    moved = records.copy()
    moved["address"][written(run, "layers.0.up", 0)] += 1
    assert "got word" in str(first_mismatch(image, trace, moved))
