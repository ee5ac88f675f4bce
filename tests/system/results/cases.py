"""Results that must stay: images, tokens, logits, counters and cycles, case by case.

Each case gives a dictionary of numbers, texts and hashes; `tests/system/recordings/results.json`
holds what they gave when they were recorded (tests/system/record_results.py), and
`tests/system/test_results.py` compares. Everything here is computed with integers, or from floats
so far apart that no rounding changes what is recorded; so the results are the same on every
machine. Nothing depends on SPIKELET_SEED.
"""

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from tests.system.results.contract import contract
from tests.system.results.devices import (
    DEVICES,
    golden,
    golden_stories,
    image_file,
    position_64,
    simulated,
    simulated_image_file,
)
from tests.system.results.exact_models import SHAPES
from tests.system.results.images import exact_images, images, power_on_contents
from tests.system.results.models import checkpoints, models, shipped, spiking, stories260k

RESULTS = Path(__file__).parents[1] / "recordings" / "results.json"


@dataclass(frozen=True)
class Case:
    """What is recorded under one name. `slow`: builds the simulator of a large configuration."""

    compute: Callable[[], dict]
    slow: bool = False


CASES = {
    "contract": Case(contract),
    "checkpoints": Case(checkpoints),
    "models/shipped": Case(models),
    **{f"models/{name}": Case(functools.partial(spiking, name)) for name in SHAPES},
    "images/shipped": Case(lambda: images(shipped()[2])),
    "images/stories260K": Case(lambda: images(stories260k()[2], ("ulx3s",))),
    **{f"images/{name}": Case(functools.partial(exact_images, name)) for name in SHAPES},
    "images/power_on": Case(power_on_contents),
    "golden/shipped": Case(lambda: golden_stories(shipped(), "resident", "streamed")),
    "golden/stories260K": Case(lambda: golden_stories(stories260k(), "resident")),
    **{f"golden/{name}": Case(functools.partial(golden, name)) for name in DEVICES},
    "golden/image_file": Case(image_file),
    **{f"simulated/{name}": Case(functools.partial(simulated, name, "tiny"))
       for name in ("tiny", "raised", "loud", "gate")},
    "simulated/image_file": Case(simulated_image_file),
    "simulated/external": Case(functools.partial(simulated, "tiny", "tiny_sdram"), slow=True),
    "position_64/shipped": Case(lambda: position_64(shipped()), slow=True),
    "position_64/stories260K": Case(lambda: position_64(stories260k()), slow=True),
}  # fmt: skip


def differences(recorded: object, found: object, path: str = "") -> list[str]:
    """A line for each place in which two JSON values differ; None: nothing is there."""
    pairs: list[tuple[object, object, object]]
    if isinstance(recorded, dict) and isinstance(found, dict):
        pairs = [(k, recorded.get(k), found.get(k)) for k in {**recorded, **found}]
    elif isinstance(recorded, list) and isinstance(found, list):
        pairs = [(n, *pair) for n, pair in enumerate(zip_longest(recorded, found))]
    elif recorded == found:
        return []
    else:
        texts = ("nothing" if value is None else json.dumps(value) for value in (recorded, found))
        return ["{}: recorded {}, now {}".format(path.strip(), *texts)]
    return [line for key, *pair in pairs for line in differences(*pair, f"{path} {key}")]


def text_of(results: dict[str, dict]) -> str:
    """The recorded file: JSON with a line for each entry of each case."""
    cases = []
    for name, case in sorted(results.items()):
        entries = ",\n".join(f"  {json.dumps(key)}: {json.dumps(case[key])}" for key in case)
        cases.append(f" {json.dumps(name)}: {{\n{entries}\n }}")
    return "{\n" + ",\n".join(cases) + "\n}\n"
