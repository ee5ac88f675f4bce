"""How long the integer model takes, against the float model in the same run.

    python -m golden.evaluation.speed [CHECKPOINT ...] [--tokens 256] [--rounds 20] [--threads 1]

Without checkpoints a random one of the shipped shape is timed. Models run one after the other in
every round; each one's fastest round counts, which is what a busy machine disturbs least. The
integer model is timed once more with its spikes counted, as reading its counters does.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from golden.checkpoints.checkpoint import Checkpoint, load_checkpoint, random_checkpoint
from golden.checkpoints.config import ModelConfig
from golden.float_model.model import FloatModel
from golden.quantisation.quantise import quantise
from golden.spiking_model.model import SpikingModel

SHIPPED_SHAPE = ModelConfig(64, 192, 4, 4, 2, 16, 1024, 256, tied=False)


def fastest(actions: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Seconds of each action's fastest round; the actions alternate."""
    best = [float("inf")] * len(actions)
    for _ in range(rounds):
        for i, action in enumerate(actions):
            start = time.perf_counter()
            action()
            best[i] = min(best[i], time.perf_counter() - start)
    return best


@torch.inference_mode()
def fastest_of(checkpoint: Checkpoint, tokens: int, rounds: int) -> list[float]:
    """Seconds of the float model, of the integer model, and of it with its spikes counted."""
    reference, spiking = FloatModel(checkpoint), SpikingModel(quantise(checkpoint))
    ids = torch.arange(tokens) * 7 % checkpoint.config.vocab

    def integers() -> None:
        spiking.reset_counters()
        spiking(ids)

    def counted() -> None:
        integers()
        assert spiking.counters.total.spikes

    return fastest([lambda: reference(ids), integers, counted], rounds)


def main() -> None:
    """Prints a line for every checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkpoints", nargs="*", type=Path)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    named = ([(path.name, load_checkpoint(path)) for path in arguments.checkpoints]
             or [("shipped shape, random", random_checkpoint(SHIPPED_SHAPE, 1))])
    for name, checkpoint in named:
        tokens = min(arguments.tokens, checkpoint.config.context)
        real, integers, counted = fastest_of(checkpoint, tokens, arguments.rounds)
        print(f"{name}, {tokens} tokens: float {real * 1e3:.1f} ms, integers "
              f"{integers * 1e3:.1f} ms: {integers / real:.2f} times; with spikes counted "
              f"{counted * 1e3:.1f} ms: {counted / real:.2f} times")


if __name__ == "__main__":
    main()
