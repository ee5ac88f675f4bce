"""What neurons did: histograms of the codes that were fired, and the counts that follow from them.
"""

from collections import Counter
from dataclasses import dataclass, field

import torch

from golden.model.arithmetic import SPIKES_OF_CODE, Tensor
from isa.formats import CODE

OFFSET = CODE.maximum + 1  # code q is counted at q + 128
MOST_WAITING = 1 << 22  # codes of an operator that are kept, a byte each, before they are counted
SIZE = torch.arange(-OFFSET, OFFSET).abs()
SPIKES = SPIKES_OF_CODE[SIZE.clamp(max=CODE.maximum)]


@dataclass
class Activity:
    """What the neurons of one operator did."""

    neurons: int = 0  # elements coded and fired
    spikes: int = 0  # signed spikes of the model's phase schedules
    unary_spikes: int = 0  # spikes of the paper's schedule
    synaptic_operations: int = 0  # weights added or subtracted by these spikes

    def __add__(self, other: "Activity") -> "Activity":
        return Activity(*(getattr(self, f) + getattr(other, f) for f in self.__dataclass_fields__))


@dataclass
class Fired:
    """What one operator's neurons fired, by code."""

    spikes_of: Tensor = field(default_factory=lambda: SPIKES)  # (256,), of its schedule
    neurons: int = 0
    codes: Tensor | int = 0     # (256,), how many fired the code
    weights: Tensor | int = 0   # (256,), weights of the rows that they reach
    waiting: list[tuple[Tensor, int | Tensor]] = field(default_factory=list)  # not yet counted
    size: int = 0               # elements that wait

    def add(self, codes: Tensor, outputs: int | Tensor, neurons: int | None) -> None:
        """Takes codes (..., n) fired into rows `outputs` wide; `neurons` of them, None: all.

        They are counted when somebody asks, or when many wait.
        """
        self.waiting.append((codes.to(torch.int8), outputs))
        self.neurons += codes.numel() if neurons is None else neurons
        self.size += codes.numel()
        if self.size > MOST_WAITING:
            self.count()

    def count(self) -> None:
        """Counts what waits."""
        for codes, outputs in self.waiting:
            index = codes.flatten().to(torch.int16) + OFFSET
            seen = torch.bincount(index, minlength=2 * OFFSET)
            if isinstance(outputs, int):
                weights = seen * outputs
            else:   # float64: counts are exact below 2^53
                each = outputs.to(torch.float64)[..., None].expand(codes.shape).flatten()
                weights = torch.bincount(index, each, 2 * OFFSET).to(torch.int64)
            self.codes, self.weights = self.codes + seen, self.weights + weights
        self.waiting, self.size = [], 0

    def activity(self) -> Activity:
        """The counts."""
        self.count()
        return Activity(self.neurons, int((self.codes * self.spikes_of).sum()),
                        int((self.codes * SIZE).sum()), int((self.weights * self.spikes_of).sum()))


@dataclass
class Counters:
    """Counts by operator name (`layers.N.qkv`, ...), over all positions since the last reset."""

    saturations: Counter[str] = field(default_factory=Counter)
    fired: dict[str, Fired] = field(default_factory=dict)

    @property
    def saturated(self) -> int:
        """Results that were clipped, all operators."""
        return self.saturations.total()

    @property
    def activity(self) -> dict[str, Activity]:
        """The activity of each operator."""
        return {name: fired.activity() for name, fired in self.fired.items()}

    @property
    def total(self) -> Activity:
        """The activity of all operators."""
        return sum(self.activity.values(), Activity())
