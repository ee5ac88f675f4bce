"""What a token costs: accumulates, bytes and energy of spikes, against int8 multiply-accumulates.

Counts are exact: every code that the integer model fires on a text is looked up in each schedule's
table of spikes. Energies are those of operations at 45 nm and 0.9 V in picojoules, from
M. Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014.

Accumulators count as 32 bits, potentials as 16. For spikes and baseline alike these are left out:
control, wires, registers, shifters, the memory of activations, quantising a vector to 8 bits, and
what is computed once for a vector (1/rms, 1/sum).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from golden.checkpoints.config import Attention, ModelConfig
from golden.decoder import population_of
from golden.spiking_model.arithmetic import SPIKES_OF_CODE
from golden.spiking_model.model import SpikingModel
from golden.units.neuron import spike_response
from isa.formats import CODE, CODE_PHASES
from isa.schedule import Population, phase_schedule

ADD16, ADD32 = 0.05, 0.1          # pJ: integer additions
MULTIPLY8 = 0.2                   # pJ: an 8 x 8 bit multiplication
SRAM_BYTE = 10 / 8                # pJ: 64 bits out of 8 KB
DRAM_BYTE = (1300 / 8, 2600 / 8)  # pJ: 64 bits, low and high
BASELINE, UNARY, SIGNED, AS_TRAINED = "int8 MAC", "unary", "signed", "trained"

SQUARED = ("qkv", "gate", "logits")  # RMSNorm gathers its squares as these fire


@dataclass
class Counted:
    """What one schedule's spikes did."""

    spikes: int = 0
    operations: int = 0  # synaptic operations: weights added or subtracted
    needed: int = 0      # weights of the neurons that fire at least once
    events: int = 0      # rows of `lanes` weights read, one for each spike and tile
    squares: int = 0     # spikes that gather RMSNorm's squares


@dataclass
class OperatorCensus:
    """What was fired into one operator (`score`, `mixed`, or a projection)."""

    neurons: int = 0
    weights: int = 0     # one for each neuron and output: a multiply-accumulate of the baseline
    neuron_tiles: int = 0  # each neuron counts once for every tile of outputs that it fires into
    by: dict[str, Counted] = field(default_factory=dict)


class Census:
    """Counts a model's spikes under several schedules: set a spiking model's `watch` to it.

    Args:
        thresholds: trained ones by population; the other populations fire exactly.
        lanes: width of a tile of outputs (the device fires a vector once for each tile).
    """

    def __init__(self, thresholds: Mapping[Population, Sequence[int]], lanes: int) -> None:
        self.lanes = lanes
        self.fired: dict[str, OperatorCensus] = {}
        self._tables: dict[Population, dict[str, Tensor]] = {}
        for population in Population:
            tables = {UNARY: torch.arange(CODE.maximum + 1), SIGNED: SPIKES_OF_CODE}
            if thresholds:
                tables[AS_TRAINED] = SPIKES_OF_CODE
            if population in thresholds:
                _, spikes = spike_response(phase_schedule(tuple(thresholds[population])))
                tables[AS_TRAINED] = torch.tensor(spikes[CODE.maximum:])
            self._tables[population] = tables

    @property
    def schedules(self) -> list[str]:
        """Names of the schedules that are counted."""
        return list(self._tables[Population.head])

    def __call__(self, name: str, codes: Tensor, outputs: int | Tensor,
                 neurons: int | None = None) -> None:
        """Counts codes (..., n) fired into rows `outputs` wide (see spiking_model.loaded.Watch)."""
        operator = name.rpartition(".")[2]
        fired = self.fired.setdefault(operator, OperatorCensus())
        width = torch.as_tensor(outputs)
        tiles = (width + self.lanes - 1) // self.lanes
        each = torch.ones(codes.shape[:-1], dtype=torch.int64) * codes.shape[-1]
        if neurons is not None:   # some codes are only padding: then all rows have one width
            each = torch.tensor(neurons)
        fired.neurons += int(each.sum())
        fired.weights += int((each * width).sum())
        fired.neuron_tiles += int((each * tiles).sum())
        size = codes.abs()
        for schedule, table in self._tables[population_of(name)].items():
            of_code = table[size]
            spikes = of_code.sum(-1)
            counted = fired.by.setdefault(schedule, Counted())
            counted.spikes += int(spikes.sum())
            counted.operations += int((spikes * width).sum())
            counted.needed += int(((of_code > 0).sum(-1) * width).sum())
            counted.events += int((spikes * tiles).sum())
            counted.squares += int(spikes.sum()) if operator in SQUARED else 0

    def total(self, schedule: str) -> Counted:
        """All operators together."""
        parts = [fired.by[schedule] for fired in self.fired.values()]
        return Counted(*(sum(getattr(p, name) for p in parts)
                         for name in Counted.__dataclass_fields__))


@dataclass(frozen=True)
class Products:
    """Products of two widths: one multiplication, or as many additions as digits but one."""

    count: int
    bits: tuple[int, int]
    digits: int  # signed radix-4 digits of the narrower factor (hdl/units/vector/radix4.py)

    @property
    def multiplied(self) -> float:
        """pJ with a multiplier, whose energy grows with the product of the widths."""
        return self.count * MULTIPLY8 * self.bits[0] * self.bits[1] / 64

    @property
    def shifted(self) -> float:
        """pJ as a sum of shifted copies."""
        return self.count * (self.digits - 1) * ADD32


def products(c: ModelConfig, documents: Sequence[int]) -> list[Products]:
    """All products but those of the gathers, for documents of these lengths.

    Gain and scale of every output, rotary embedding, gate times up, the slopes of SiLU and exp2.
    """
    positions, pairs = sum(documents), sum(n * (n + 1) // 2 for n in documents)
    rows = c.attention_dim + 2 * c.kv_dim + 2 * c.dim + 2 * c.hidden + c.attention_dim
    outputs = positions * (c.dim + c.layers * rows + c.vocab) + c.layers * c.heads * pairs
    hidden = positions * c.layers * c.hidden
    rotated = positions * c.layers * (c.attention_dim + c.kv_dim)
    exp2 = c.layers * c.heads * pairs if c.attention is Attention.softmax else 0
    return [Products(2 * outputs, (24, 8), 5), Products(2 * rotated, (24, 12), 6),
            Products(hidden, (24, 8), 4), Products(hidden, (10, 8), 4), Products(exp2, (8, 3), 2)]


def additions(c: ModelConfig, documents: Sequence[int]) -> int:
    """Additions that belong to no product: residuals, biases, rotary embedding, tables, softmax's
    sum."""
    positions, pairs = sum(documents), sum(n * (n + 1) // 2 for n in documents)
    layer = 2 * c.dim + c.attention_dim + c.kv_dim + c.hidden
    layer += c.attention_dim + 2 * c.kv_dim if c.qkv_bias else 0
    score = 3 if c.attention is Attention.softmax else 1    # less the largest, line, sum; or gate
    return c.layers * (positions * layer + score * c.heads * pairs)


@dataclass(frozen=True)
class Cost:
    """What a token costs on average in one way to run it. Energies are in nJ.

    `held` assumes that a row is read once and kept for all spikes of its neuron, and that a silent
    neuron's row is not read. `built` is what the device does: every spike reads its row again.
    """

    name: str
    accumulates: float   # additions of weights, keys and values, and of RMSNorm's squares
    multiplies: float    # of 8 x 8 bits, with those accumulates
    spikes: float
    bytes_held: float
    bytes_built: float
    synapses: float      # energy of accumulates and multiplies
    neurons: float       # energy of comparing, integrating and resetting
    other: float         # energy of gains, scales, modulation, functions, residuals

    @property
    def arithmetic(self) -> float:
        return self.synapses + self.neurons + self.other

    @property
    def memory_held(self) -> float:
        return self.bytes_held * SRAM_BYTE / 1000

    @property
    def memory_built(self) -> float:
        return self.bytes_built * SRAM_BYTE / 1000

    @property
    def total_held(self) -> float:
        return self.arithmetic + self.memory_held

    @property
    def total_built(self) -> float:
        return self.arithmetic + self.memory_built


def costs(model: SpikingModel, census: Census, documents: Sequence[int]) -> list[Cost]:
    """The baseline and every schedule of the census; `documents` are the lengths it has seen.

    A vector fires again for every tile of outputs, and every neuron takes every step: the steps
    that the device skips as silent are counted.
    """
    c, positions = model.config, sum(documents)
    made, added = products(c, documents), additions(c, documents)
    embedding = positions * c.dim  # a token's row is read, added once, and never multiplied
    weights = sum(fired.weights for fired in census.fired.values())
    visits = sum(fired.neuron_tiles for fired in census.fired.values())
    squares = positions * c.dim * (2 * c.layers + 1)
    nano = 1 / 1000 / positions

    def cost(name: str, accumulates: int, multiplies: int, spikes: int, held: int, built: int,
             dynamics: float, other: float) -> Cost:
        synapses = accumulates * ADD32 + multiplies * MULTIPLY8
        return Cost(name, accumulates / positions, multiplies / positions, spikes / positions,
                    held / positions, built / positions, synapses * nano, dynamics * nano,
                    (other + added * ADD32) * nano)

    result = [cost(BASELINE, weights + squares, weights + squares, 0, weights + embedding,
                   weights + embedding, 0.0, sum(p.multiplied for p in made))]
    for name in census.schedules:
        t = census.total(name)
        # A step compares; unary steps integrate too; phases subtract what they fire, tile by tile.
        if name == UNARY:
            dynamics = visits * (2 * CODE.maximum - 1) * ADD16
        else:
            dynamics = (visits * CODE_PHASES + t.events) * ADD16
        result.append(cost(name, t.operations + t.squares + embedding, 0, t.spikes,
                           t.needed + embedding, t.operations + embedding, dynamics,
                           sum(p.shifted for p in made)))
    return result
