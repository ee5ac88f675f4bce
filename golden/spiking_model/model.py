"""The integer spiking BrainGPT: a whole sequence at once, in exactly the integers of the device.

docs/numerics.md names every vector and its formats; golden/units defines every step. Positions are
batched: T is the sequence, H the query heads, K the key/value heads, hd a head's width.

Integers are carried in floating point, in a type in which they are exact: vectors in float64;
scores and probabilities, which have 24 bits at most, in float32. Codes are int8.
"""

from collections.abc import Callable
from dataclasses import fields

import numpy as np
import torch

from golden.device.memories import spike_response
from golden.quantisation.quantise import Layer, QuantisedModel, Synapses
from golden.spiking_model import arithmetic as a
from golden.spiking_model import lookups as functions
from golden.spiking_model.activity import Activity as Activity
from golden.spiking_model.activity import Counters
from golden.spiking_model.arithmetic import Scalars, Tensor
from golden.spiking_model.attention import Means, Record, keep, mix
from golden.spiking_model.in_time import InTime, Volley, at_once, population_of
from isa.errors import SpikeletError
from isa.formats import UNITY_MANTISSA
from isa.schedule import Schedule

LAYER_MAPS = tuple(f.name for f in fields(Layer))
# Gets an operator's name, its codes (..., n), the width of the rows that they gather (one, or one
# for each of the leading axes) and how many of the codes are neurons (None: all). An operator may
# come in several parts.
Watch = Callable[[str, Tensor, int | Tensor, int | None], None]


class Rows:
    """A linear map's tensors: rows (inputs, outputs), gain * 2**-drop, bias."""

    def __init__(self, synapses: Synapses) -> None:
        self.weight = torch.from_numpy(synapses.weight.T)
        self.outline = synapses.outline()
        self.gain = torch.from_numpy(a.factor(synapses.gain, synapses.drop))
        self.bias = None if synapses.bias is None else a.real(torch.tensor(synapses.bias))


class SpikingModel:
    """The integers of a quantised model, for whole sequences.

    Args:
        quantised: every integer of the model.
        schedule: None forms sums of what arrives at once; a schedule runs its EI-IF neurons step by
            step and gathers rows spike by spike; populations with raised thresholds run their own.
            Both give the same integers.
        load: False leaves maps to `load` and `load_layer`, for models too large to be whole in
            memory; `embed`, `layer` and `logits` then run one after the other.
    """

    def __init__(self, quantised: QuantisedModel, schedule: Schedule | None = None,
                 load: bool = True) -> None:
        self.model, self.config = quantised, quantised.config
        own = quantised.schedules
        self.gathers = at_once(own) if schedule is None else InTime(schedule, own)
        self.tables = functions.Tables.of(quantised.tables)
        self.turns = a.turns(quantised.cosine, quantised.sine)
        self.silu = functions.silu_values(quantised.fraction, self.tables)
        self.rows: dict[str, Rows] = {}
        if load:
            self.load("embedding", quantised.embedding)
            for n, layer in enumerate(quantised.layers):
                self.load_layer(n, layer)
            self.load("logits", quantised.head)
        self.spikes_of = {p: torch.tensor([0, *spike_response(s)[1]]) for p, s in own.items()}
        self.watch: Watch | None = None
        self.reset_counters()
        self.means = Means(quantised, self.gathers, self.tables, self.fired, self.counted)

    def load(self, name: str, synapses: Synapses) -> None:
        """Takes one map's integers: `embedding`, `logits` (or some of its rows), ..."""
        rows = self.rows[name] = Rows(synapses)
        if name != "embedding":                                          # whose rows are picked
            rows.weight = self.gathers.held(rows.weight, population_of(name))

    def load_layer(self, n: int, layer: Layer) -> None:
        """Takes the integers of layer n."""
        for name in LAYER_MAPS:
            self.load(f"layers.{n}.{name}", getattr(layer, name))

    def unload_layer(self, n: int) -> None:
        """Forgets the integers of layer n."""
        for name in LAYER_MAPS:
            del self.rows[f"layers.{n}.{name}"]

    def reset_counters(self) -> None:
        """Forgets all counts."""
        self.counters = Counters(self.spikes_of)

    def log_logits(self, ids: Tensor) -> Tensor:
        """Logits (T, vocab) as float64 in natural-log units: what `perplexity` takes."""
        return self.forward(ids).to(torch.float64) * 2.0**-self.model.fraction

    @torch.inference_mode()
    def forward(self, ids: Tensor, record: Record | None = None) -> Tensor:
        """Logits (T, vocab), int64 with the model's fraction bits, of token ids (T,).

        `record` receives every vector between operators under its name in docs/numerics.md,
        position first. Of `score.H` and `probability.H` (T, T) row p has p + 1 elements, the rest
        are 0. Codes come with `layers.N.key_exponent`, `.value_exponent` and `.alignment` (T, K).

        Raises:
            SpikeletError: no ids, more than the context holds, or ids outside the vocabulary.
        """
        c = self.config
        if not 1 <= len(ids) <= c.context:
            raise SpikeletError(f"the model takes 1 to {c.context} tokens, not {len(ids)}: give a "
                                "text of that length")
        if int(ids.min()) < 0 or int(ids.max()) >= c.vocab:
            raise SpikeletError(f"a token id is not in 0..{c.vocab - 1}: use the model's tokenizer")
        x = self.embed(ids)                                              # (T, dim)
        keep(record, "embedding", x)
        for n in range(c.layers):
            x = self.layer(x, n, record)
        logits = self.logits(x).to(torch.int32).to(torch.int64)          # (T, vocab); 24 bits
        keep(record, "logits", logits)
        return logits

    __call__ = forward

    def layer(self, x: Tensor, n: int, record: Record | None = None) -> Tensor:
        """Layer n of the residual vectors x (T, dim), integers in float64."""
        return self._mlp(self._attention(x, f"layers.{n}", record), f"layers.{n}", record)

    def logits(self, x: Tensor) -> Tensor:
        """The logits (T, loaded rows of the head) of the residual vectors x (T, dim); float64."""
        return self._normed(x, "logits")[0]

    # ---- counting ----------------------------------------------------------------------------

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

    # ---- operators ---------------------------------------------------------------------------

    def embed(self, ids: Tensor) -> Tensor:
        """The residual vectors (T, dim) of tokens: each token's neuron fires once, amplitude 1."""
        rows, name = self.rows["embedding"], "embedding"
        self.counters.add(name, torch.ones_like(ids, dtype=torch.int8), rows.weight.shape[1])
        y = a.half_up_(rows.weight[ids] * rows.gain)
        return self.counted(name, a.post(y, UNITY_MANTISSA, np.array(self.model.embedding_shift())))

    def _linear(self, name: str, rows: Rows, codes: Tensor, fired: Tensor | Volley,
                mantissa: Scalars | int, shift: Scalars, residual: Tensor | None = None) -> Tensor:
        self.fired(name, codes, len(rows.gain))
        # The quantiser chooses drops so that nothing saturates here.
        sums = self.gathers.rows(fired, rows.weight).to(torch.float64)
        y = a.product_half_up_(sums, rows.gain)
        return self.counted(name, a.post(y, mantissa, shift, rows.bias, residual))

    def _normed(self, x: Tensor, *names: str) -> list[Tensor]:
        """RMSNorm then linear maps: x (T, n) is coded first, 1/rms modulates the sums."""
        codes, exponent = a.code(x)                                      # (T, n), (T, 1)
        fired = self.gathers.fire(codes, population_of(names[0]))
        squares = self.gathers.squares(fired, codes, population_of(names[0])).numpy()
        mantissa, e = functions.norm_scalar(squares, exponent, self.model.norm, self.tables)
        maps = [(name, self.rows[name]) for name in names]
        return [self._linear(name, rows, codes, fired, mantissa,
                             self.model.norm_shift(rows.outline) - e)
                for name, rows in maps]

    def _residual(self, name: str, rows: Rows, codes: Tensor, exponent: Scalars,
                  residual: Tensor) -> Tensor:
        """A linear map of a coded vector added to the residual stream."""
        fired = self.gathers.fire(codes, population_of(name))
        return self._linear(name, rows, codes, fired, UNITY_MANTISSA,
                            self.model.residual_shift(rows.outline) - exponent, residual)

    def _attention(self, x: Tensor, name: str, record: Record | None) -> Tensor:
        c, T = self.config, len(x)
        H, K, hd = c.heads, c.kv_heads, c.head_dim
        qkv, = self._normed(x, f"{name}.qkv")                            # (T, (H + 2 K) hd)
        keep(record, f"{name}.qkv", qkv)
        heads = qkv.view(T, H + 2 * K, hd).transpose(0, 1)               # (H + 2 K, T, hd)
        a.rotate_(heads[:H + K], self.turns[:T])
        heads, clipped, codes, exponent = a.saturated_code(heads)
        self.counters.saturations[f"{name}.rotated"] += clipped
        q, k, v = codes.split_with_sizes((H, K, K))
        q_e, k_e, v_e = exponent[:H], exponent[H:H + K], exponent[H + K:]    # (H or K, T, 1)
        alignment = np.maximum.accumulate(v_e, 1)                        # causal: over 0..p
        if record is not None:
            for part, value in (("rotated", heads[:H + K]), ("key", k), ("value", v),
                                ("key_exponent", k_e), ("value_exponent", v_e),
                                ("alignment", alignment)):
                keep(record, f"{name}.{part}", value, heads=True)
        mixed = mix(self.means, name, (q, q_e), (k, k_e), (v, v_e, alignment), record)
        codes, exponent = a.code(mixed)
        x = self._residual(f"{name}.attended", self.rows[f"{name}.out"], codes, exponent, x)
        keep(record, f"{name}.attended", x)
        return x

    def _mlp(self, x: Tensor, name: str, record: Record | None) -> Tensor:
        F = self.model.fraction
        gate, up = self._normed(x, f"{name}.gate", f"{name}.up")         # (T, hidden)
        silu = functions.silu_at_once(gate, self.silu)
        codes, exponent = a.code(silu)
        gates = self.gathers.fire(codes, None)
        product = a.half_up_(self.gathers.modulate(gates, up).mul_(a.power(exponent - F)))
        product, clipped, codes, exponent = a.saturated_code(product)
        self.counters.saturations[f"{name}.product"] += clipped
        down = self._residual(f"{name}.down", self.rows[f"{name}.down"], codes, exponent, x)
        if record is not None:
            for part, value in (("gate", gate), ("up", up), ("silu", silu), ("product", product),
                                ("down", down)):
                keep(record, f"{name}.{part}", value)
        return down

