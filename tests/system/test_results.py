"""Tokens, logits, counters, cycles, images and the contract are what they were when recorded.

Cycles and stalls are compared exactly, too: a change that lowers them records anew, one that raises
them has to say why. tests/system/record_results.py says when recording is right.
"""

import json

import pytest

from tests.system.results.cases import CASES, RESULTS, differences

SHOWN = 12


PARAMETERS = [pytest.param(name, marks=[pytest.mark.slow] if case.slow else [])
              for name, case in CASES.items()]


@pytest.mark.parametrize("name", PARAMETERS)
def test_result_is_the_recorded_one(name: str) -> None:
    recorded = json.loads(RESULTS.read_text())[name]
    found = differences(recorded, json.loads(json.dumps(CASES[name].compute())))
    more = [f"... and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    if found:
        pytest.fail("\n".join([f"{name} is not what was recorded:", *found[:SHOWN], *more]), False)


def test_nothing_recorded_is_left_over() -> None:
    """Every case is recorded, and nothing is recorded that no case compares."""
    assert json.loads(RESULTS.read_text()).keys() == CASES.keys()
    assert RESULTS.stat().st_size < 100_000


def test_a_difference_is_named() -> None:
    recorded = {"a": {"tokens": [1, 2, 3]}, "b": 5, "c": 1}
    assert not differences(recorded, json.loads(json.dumps(recorded)))
    assert differences(recorded, {"a": {"tokens": [1, 9, 3]}, "c": 1, "d": 0}) == [
        "a tokens 1: recorded 2, now 9", "b: recorded 5, now nothing", "d: recorded nothing, now 0",
    ]  # fmt: skip
