"""A golden and a simulated device with the same image, run side by side."""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import cache

import numpy as np

from golden.checkpoints.checkpoint import random_checkpoint
from golden.checkpoints.config import ModelConfig
from golden.quantisation.quantise import QuantisedModel, quantise
from host.compiler.compile import compile_model
from host.driver import Driver, Generation
from host.transport.golden import GoldenTransport
from host.transport.packets import PacketLink
from host.transport.simulated import SimulatedTransport
from host.verify import first_mismatch
from isa.configurations import configuration
from isa.packets import Space
from isa.registers import COUNTERS
from sim.memory import SimulatedMemory

FRACTION = 10  # random models have larger activations than trained ones
MEMORY = SimulatedMemory()
TIMED = {r.name for r in COUNTERS if r.name.endswith("cycles")}


@cache
def random_model(config: ModelConfig, seed: int) -> QuantisedModel:
    return quantise(random_checkpoint(config, seed), fraction=FRACTION)


class Pair:
    """Two devices of one configuration behind the same driver; a context manager."""

    def __init__(self, q: QuantisedModel, name: str, weights: str = "resident",
                 schedule: str = "phase", memory: SimulatedMemory = MEMORY,
                 **options) -> None:  # fmt: skip
        self.c = configuration(name)
        self.image = compile_model(q, self.c, weights=weights, schedule=schedule, **options)
        self.simulated = SimulatedTransport(self.c, memory=memory)
        self.golden = GoldenTransport(self.c)
        self.drivers = [Driver(self.golden, self.image), Driver(self.simulated, self.image)]
        self._stack = ExitStack()

    def __enter__(self) -> "Pair":
        self._stack.enter_context(self.simulated)
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def generate(self, prompt: Sequence[int], count: int, trace: bool = True) -> Generation:
        """Generates on both; every token, counter, vector, code and row must be the same."""
        self.golden.device.trace = [] if trace else None
        self.simulated.device.trace(trace)
        expected, got = (d.generate(prompt, count, lambda token: None) for d in self.drivers)
        if trace:
            records = self.simulated.device.take_trace()
            mismatch = first_mismatch(self.image, self.golden.device.trace, records)
            assert mismatch is None, str(mismatch)
        assert got.tokens == expected.tokens
        assert got.stop == expected.stop
        for name, value in expected.counters.items():
            if name not in TIMED:
                assert got.counters[name] == value, name
        return got

    def logits(self, tokens: Sequence[int]) -> None:
        """The logits after `tokens` are the same on both."""
        expected, got = (d.logits(tokens) for d in self.drivers)
        assert np.array_equal(got, expected)

    def rows(self, first: int, count: int) -> None:
        """Row memory read back over the link is the same on both."""
        each = self.c.cores * self.c.lanes // 4
        expected, got = (
            PacketLink(device).read(Space.ROW, first * each, count * each)
            for device in (self.golden, self.simulated)
        )
        differs = np.flatnonzero(expected != got)
        assert not differs.size, f"row word {first * each + differs[0]} differs"
