"""What the spiking model's neurons did: spikes, synaptic operations and saturations by operator.

How often a neuron spikes depends on its code alone. So a run keeps a histogram of the codes that
each operator fired, and every count follows from it when somebody asks.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from golden.decoder import population_of
from golden.spiking_model.arithmetic import SPIKES_OF_CODE
from isa.formats import CODE
from isa.schedule import Population

OFFSET = CODE.maximum + 1  # the histogram's entry of code q is q + OFFSET
MOST_WAITING = 1 << 24  # int8 codes that are kept at most before their histogram is taken
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
class CodeHistogram:
    """The codes that one operator's neurons fired, and how many weights each of them reached."""

    neurons: int = 0
    codes: Tensor | int = 0     # (256,): neurons that fired each code
    weights: Tensor | int = 0   # (256,): weights in the rows of these neurons, all together

    def count(self, codes: Tensor, outputs: int | Tensor, neurons: int | None) -> None:
        """Adds codes (..., n) that are fired into rows of `outputs` weights.

        Args:
            outputs: one number, or one for each of the leading axes.
            neurons: how many of the codes are neurons and not padding; None: all.
        """
        index = codes.flatten().to(torch.int16) + OFFSET
        seen = torch.bincount(index, minlength=2 * OFFSET)
        if isinstance(outputs, int):
            weights = seen * outputs
        else:   # float64: counts are exact below 2^53
            each = outputs.to(torch.float64)[..., None].expand(codes.shape).flatten()
            weights = torch.bincount(index, each, 2 * OFFSET).to(torch.int64)
        self.codes, self.weights = self.codes + seen, self.weights + weights
        self.neurons += codes.numel() if neurons is None else neurons

    def activity(self, spikes_of: Tensor) -> Activity:
        """The counts under a schedule that fires `spikes_of` (256,) spikes for each code."""
        return Activity(self.neurons, int((self.codes * spikes_of).sum()),
                        int((self.codes * SIZE).sum()), int((self.weights * spikes_of).sum()))


@dataclass
class Counters:
    """Counts by operator name (`layers.N.qkv`, ...), over all positions since the last reset.

    Histograms are taken when somebody asks, or when many codes wait: a run whose counters nobody
    reads does not pay for them.
    """

    spikes_of: Mapping[Population, Tensor] = field(default_factory=dict)  # (256,); else SPIKES
    saturations: Counter[str] = field(default_factory=Counter)
    fired: dict[str, CodeHistogram] = field(default_factory=dict)
    waiting: list[tuple[str, Tensor, int | Tensor, int | None]] = field(default_factory=list)
    size: int = 0  # codes that wait

    def add(self, name: str, codes: Tensor, outputs: int | Tensor, neurons: int | None = None
            ) -> None:
        """Takes an operator's int8 codes; arguments are those of `CodeHistogram.count`."""
        self.waiting.append((name, codes, outputs, neurons))
        self.size += codes.numel()
        if self.size > MOST_WAITING:
            self.count()

    def count(self) -> None:
        """Takes the histograms of all codes that wait."""
        for name, *what in self.waiting:
            self.fired.setdefault(name, CodeHistogram()).count(*what)
        self.waiting, self.size = [], 0

    @property
    def saturated(self) -> int:
        """Results that were clipped, all operators."""
        return self.saturations.total()

    @property
    def activity(self) -> dict[str, Activity]:
        """The activity of each operator."""
        self.count()
        return {name: fired.activity(SPIKES if name == "embedding" else    # no population fires
                                     self.spikes_of.get(population_of(name), SPIKES))
                for name, fired in self.fired.items()}

    @property
    def total(self) -> Activity:
        """The activity of all operators."""
        return sum(self.activity.values(), Activity())
