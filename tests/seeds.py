"""The seed of randomised tests: SPIKELET_SEED (a number, or `random`), 1 when unset."""

import os
import random


def seed() -> int:
    """The seed of this run, printed, so that a failure shows how to repeat it."""
    value = int(os.environ.get("SPIKELET_SEED", "1"))
    print(f"SPIKELET_SEED={value}")
    return value


def generator(name: str) -> random.Random:
    """A random generator which differs from name to name and repeats for the same seed."""
    return random.Random(f"{os.environ.get('SPIKELET_SEED', '1')} {name}")
