"""A quantised model made ready to run: maps as tensors, constants, tables, and counters."""

from collections.abc import Callable

import torch
from torch import Tensor

from golden.decoder import LAYER_MAPS, full_name, population_of
from golden.quantisation.quantise import Layer, QuantisedModel
from golden.quantisation.synapses import Synapses
from golden.spiking_model import arithmetic as a
from golden.spiking_model.activity import Counters
from golden.spiking_model.in_time import InTime, at_once
from golden.spiking_model.lookups import TensorTables, silu_values
from golden.units.neuron import spike_response
from isa.schedule import Schedule

Watch = Callable[[str, Tensor, int | Tensor, int | None], None]
"""Gets what every operator fires: its name, its codes (..., n), the width of the rows that they
gather (one, or one for each of the leading axes), and how many of the codes are neurons (None:
all). An operator may come in several parts.
"""


class Rows:
    """A linear map's tensors: rows (inputs, outputs), gain * 2**-drop, bias."""

    def __init__(self, synapses: Synapses) -> None:
        self.weight = torch.from_numpy(synapses.weight.T)
        self.outline = synapses.outline()
        self.gain = torch.from_numpy(a.factor(synapses.gain, synapses.drop))
        self.bias = None if synapses.bias is None else a.real(torch.tensor(synapses.bias))


class LoadedModel:
    """The integers of a quantised model, ready for the operators, and what these have counted.

    Args:
        quantised: every integer of the model.
        schedule: None gathers at once, by products. With a schedule, neurons are stepped and rows
            gathered spike by spike (populations with raised thresholds have their own schedule).
            Both give the same integers.
        load: False leaves maps to `load` and `load_layer`, for models too large to be whole in
            memory.
    """

    def __init__(self, quantised: QuantisedModel, schedule: Schedule | None = None,
                 load: bool = True) -> None:
        self.model, self.config = quantised, quantised.config
        own = quantised.schedules
        self.gathers = at_once(own) if schedule is None else InTime(schedule, own)
        self.tables = TensorTables.of(quantised.tables)
        self.rotary = a.rotary_factors(quantised.cosine, quantised.sine)
        self.silu = silu_values(quantised.fraction, self.tables)
        self.rows: dict[str, Rows] = {}
        if load:
            self.load("embedding", quantised.embedding)
            for n, layer in enumerate(quantised.layers):
                self.load_layer(n, layer)
            self.load("logits", quantised.head)
        self.spikes_of = {p: torch.tensor([0, *spike_response(s)[1]]) for p, s in own.items()}
        self.watch: Watch | None = None
        self.reset_counters()

    def load(self, name: str, synapses: Synapses) -> None:
        """Takes one map's integers: `embedding`, `logits` (or some of its rows), ..."""
        rows = self.rows[name] = Rows(synapses)
        if name != "embedding":                                          # its rows are picked
            rows.weight = self.gathers.held(rows.weight, population_of(name))

    def load_layer(self, n: int, layer: Layer) -> None:
        """Takes the integers of layer n."""
        for name in LAYER_MAPS:
            self.load(full_name(n, name), getattr(layer, name))

    def unload_layer(self, n: int) -> None:
        """Forgets the integers of layer n."""
        for name in LAYER_MAPS:
            del self.rows[full_name(n, name)]

    def reset_counters(self) -> None:
        """Forgets all counts."""
        self.counters = Counters(self.spikes_of)

    def counted(self, name: str, result: tuple[Tensor, int]) -> Tensor:
        """The vector of (vector, saturations), which are counted."""
        value, saturations = result
        self.counters.saturations[name] += saturations
        return value

    def fired(self, name: str, codes: Tensor, outputs: int | Tensor,
              neurons: int | None = None) -> None:
        """Counts the neurons of `codes` (..., n) and the rows, `outputs` wide, that they gather."""
        if self.watch is not None:
            self.watch(name, codes.to(torch.int64), outputs, neurons)
        self.counters.add(name, codes, outputs, neurons)
