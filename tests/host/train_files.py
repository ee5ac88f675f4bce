"""Commands of `spikelet train` on the smallest shapes, and the files that they start from."""

from pathlib import Path

from tests.golden.training import stories

SHAPE = ("--vocab", 300, "--dim", 16, "--hidden", 24, "--layers", 1, "--heads", 2, "--kv-heads", 1,
         "--head-dim", 8)
STEPS = ("--steps", 6, "--batch", 4, "--length", 32)
QUANTISED = ("train", "quantised", *SHAPE, *STEPS, "--float-share", 0.5)
PLASTICITY = ("train", "plasticity", *STEPS, "--rate", 0.01)


def write_text(path: Path) -> Path:
    path.write_text(stories())
    return path


def words(arguments: tuple) -> list[str]:
    return [str(argument) for argument in arguments]
