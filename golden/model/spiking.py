"""The integer spiking BrainGPT: a whole sequence at once, in exactly the integers of the device.

docs/numerics.md names every vector and its formats; golden/units defines every step. Positions are
batched: T is the sequence, H the query heads, K the key/value heads, hd a head's width.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, fields

import torch

from golden.memories import spike_response
from golden.model import arithmetic as a
from golden.model.arithmetic import Shift, Tensor
from golden.model.config import Attention
from golden.model.quantise import Layer, QuantisedModel, Synapses
from golden.model.spiking_time import AtOnce, InTime, population_of
from golden.units.attention import MAXIMUM_ALIGNMENT
from isa.errors import SpikeletError
from isa.formats import CODE, UNITY_MANTISSA, UNITY_SHIFT
from isa.schedule import Population, Schedule

Record = dict[str, Tensor]
LAYER_MAPS = tuple(f.name for f in fields(Layer))
# Gets an operator's name, its codes (..., n), the width of the rows that they gather (one, or one
# for each of the leading axes) and how many of the codes are neurons (None: all).
Watch = Callable[[str, Tensor, int | Tensor, int | None], None]


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
class Counters:
    """Counts by operator name (`layers.N.qkv`, ...), over all positions since the last reset."""

    saturations: Counter[str] = field(default_factory=Counter)
    activity: dict[str, Activity] = field(default_factory=dict)

    @property
    def saturated(self) -> int:
        """Results that were clipped, all operators."""
        return self.saturations.total()

    @property
    def total(self) -> Activity:
        """The activity of all operators."""
        return sum(self.activity.values(), Activity())


class Rows:
    """A linear map's tensors: rows (inputs, outputs) in BLAS's type, gain, drop, bias.

    Rows that are only picked (`one_hot`) stay int8.
    """

    def __init__(self, synapses: Synapses, one_hot: bool = False) -> None:
        kind = a.exact_type(synapses.inputs * CODE.maximum * CODE.maximum)
        rows = torch.from_numpy(synapses.weight.T)
        self.weight = rows if one_hot else rows.to(kind).contiguous()
        self.outline = synapses.outline()
        self.gain, self.drop = torch.tensor(synapses.gain), torch.tensor(synapses.drop)
        self.bias = None if synapses.bias is None else torch.tensor(synapses.bias)


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
        self.gathers = AtOnce(own) if schedule is None else InTime(schedule, own)
        self.tables = a.Tables.of(quantised.tables)
        self.cosine, self.sine = torch.tensor(quantised.cosine), torch.tensor(quantised.sine)
        self.rows: dict[str, Rows] = {}
        if load:
            self.load("embedding", quantised.embedding)
            for n, layer in enumerate(quantised.layers):
                self.load_layer(n, layer)
            self.load("logits", quantised.head)
        self.spikes_of = {p: torch.tensor(spike_response(s)[1]) for p, s in own.items()}
        self.counters = Counters()
        self.watch: Watch | None = None

    def load(self, name: str, synapses: Synapses) -> None:
        """Takes one map's integers: `embedding`, `logits` (or some of its rows), ..."""
        self.rows[name] = Rows(synapses, one_hot=name == "embedding")

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
        self.counters = Counters()

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
        record = {} if record is None else record
        x = record["embedding"] = self.embed(ids)                        # (T, dim)
        for n in range(c.layers):
            x = self.layer(x, n, record)
        logits = record["logits"] = self.logits(x)
        return logits                                                    # (T, vocab)

    __call__ = forward

    def layer(self, x: Tensor, n: int, record: Record) -> Tensor:
        """Layer n of the residual vectors x (T, dim)."""
        return self._mlp(self._attention(x, f"layers.{n}", record), f"layers.{n}", record)

    def logits(self, x: Tensor) -> Tensor:
        """The logits (T, loaded rows of the head) of the residual vectors x (T, dim)."""
        return self._normed(x, "logits")

    # ---- counting ----------------------------------------------------------------------------

    def _counted(self, name: str, result: tuple[Tensor, int]) -> Tensor:
        value, saturations = result
        self.counters.saturations[name] += saturations
        return value

    def _fired(self, name: str, codes: Tensor, outputs: int | Tensor,
               neurons: int | None = None) -> None:
        """Counts the neurons of `codes` (..., n) and the rows, `outputs` wide, that they gather."""
        if self.watch is not None:
            self.watch(name, codes, outputs, neurons)
        table = self.spikes_of.get(population_of(name))
        each = a.spike_counts(codes) if table is None else table[codes + CODE.maximum]
        spikes = each.sum(-1)                                            # (...)
        self.counters.activity[name] = self.counters.activity.get(name, Activity()) + Activity(
            codes.numel() if neurons is None else neurons, int(spikes.sum()),
            int(codes.abs().sum()), int((spikes * outputs).sum()))

    # ---- operators ---------------------------------------------------------------------------

    def embed(self, ids: Tensor) -> Tensor:
        """The residual vectors (T, dim) of tokens: each token's neuron fires once, amplitude 1."""
        rows, name = self.rows["embedding"], "embedding"
        T, outputs = len(ids), rows.weight.shape[1]
        self.counters.activity[name] = self.counters.activity.get(name, Activity()) + Activity(
            T, T, T, T * outputs)
        return self._counted(name, a.post(rows.weight[ids].to(torch.int64), rows.gain, rows.drop,
                                          UNITY_MANTISSA, self.model.embedding_shift()))

    def _linear(self, name: str, rows: Rows, codes: Tensor, mantissa: Shift, shift: Shift,
                residual: Tensor | None = None) -> Tensor:
        self._fired(name, codes, len(rows.gain))
        sums = self.gathers.rows(codes, rows.weight, population_of(name))
        return self._counted(name, a.post(sums, rows.gain, rows.drop, mantissa, shift, rows.bias,
                                          residual))

    def _normed(self, x: Tensor, name: str) -> Tensor:
        """RMSNorm then a linear map: x (T, n) is coded first, 1/rms modulates the sums."""
        exponent = a.code_exponent(x)                                    # (T, 1)
        codes = a.encode(x, exponent)
        squares = self.gathers.modulate(codes, codes, population_of(name)).sum(-1, keepdim=True)
        mantissa, e = a.norm_scalar(squares, exponent, self.model.norm, self.tables)
        rows = self.rows[name]
        return self._linear(name, rows, codes, mantissa, self.model.norm_shift(rows.outline) - e)

    def _residual(self, vector: Tensor, name: str, rows: Rows, residual: Tensor) -> Tensor:
        """A linear map of `vector` added to the residual stream."""
        exponent = a.code_exponent(vector)
        return self._linear(name, rows, a.encode(vector, exponent), UNITY_MANTISSA,
                            self.model.residual_shift(rows.outline) - exponent, residual)

    def _attention(self, x: Tensor, name: str, record: Record) -> Tensor:
        c, T = self.config, len(x)
        H, K, hd = c.heads, c.kv_heads, c.head_dim
        qkv = self._normed(x, f"{name}.qkv")                             # (T, (H + 2 K) hd)
        heads = qkv.view(T, H + 2 * K, hd).transpose(0, 1)               # (H + 2 K, T, hd)
        rotated = self._counted(f"{name}.rotated", a.rotate(heads[:H + K], self.cosine[:T],
                                                            self.sine[:T]))
        q_e, k_e = a.code_exponent(rotated).split((H, K))                # (H, T, 1), (K, T, 1)
        q, k = a.encode(rotated, a.code_exponent(rotated)).split((H, K))
        v_e = a.code_exponent(heads[H + K:])                             # (K, T, 1)
        v = a.encode(heads[H + K:], v_e)
        alignment = v_e.cummax(1).values                                 # causal: over 0..p
        record |= {
            f"{name}.qkv": qkv,
            f"{name}.rotated": rotated.transpose(0, 1).flatten(1),
            f"{name}.key": k.transpose(0, 1).flatten(1),
            f"{name}.key_exponent": k_e[..., 0].T,
            f"{name}.value": v.transpose(0, 1).flatten(1),
            f"{name}.value_exponent": v_e[..., 0].T,
            f"{name}.alignment": alignment[..., 0].T,
        }
        # Query head h listens to key/value head h // group.
        k, k_e, v, v_e, alignment = (z.repeat_interleave(c.group, 0)
                                     for z in (k, k_e, v, v_e, alignment))
        causal = torch.ones(T, T, dtype=torch.bool).tril()               # (query, position)
        reach = torch.arange(1, T + 1)                                   # positions 0..p
        score = self._scores(f"{name}.score", q, q_e, k, k_e, causal, reach)
        p, total = self._weights(score, causal, reach)                   # (H, T, T), (H, T, 1)
        mantissa, e = a.reciprocal(total, self.tables)
        away = (alignment - v_e.mT).clamp(0, MAXIMUM_ALIGNMENT)          # (H, T, T)
        p = a.rshift(p, away)
        p_e = a.code_exponent(p)
        codes = a.encode(p, p_e)
        self._fired(f"{name}.mixed", codes, hd, H * int(reach.sum()))
        sums = self.gathers.rows(codes, v, Population.attention)
        mixed = self._counted(f"{name}.mixed", a.post(
            sums, UNITY_MANTISSA, UNITY_SHIFT, mantissa,
            self.model.mix_shift() - (p_e + e + alignment)))             # (H, T, hd)
        for h in range(H):
            record |= {f"{name}.score.{h}": score[h], f"{name}.probability.{h}": p[h],
                       f"{name}.mixed.{h}": mixed[h]}
        x = self._residual(mixed.transpose(0, 1).flatten(1), f"{name}.attended",
                           self.rows[f"{name}.out"], x)
        record[f"{name}.attended"] = x
        return x

    def _scores(self, name: str, q: Tensor, q_e: Tensor, k: Tensor, k_e: Tensor, causal: Tensor,
                reach: Tensor) -> Tensor:
        """Scores (H, T, T), in log2 units for softmax; 0 for positions after the query's own."""
        self._fired(name, q, reach)
        sums = self.gathers.rows(q, k.mT, Population.attention) * causal  # what is not there is 0
        return self._counted(name, a.post(sums, self.model.score_gain, self.model.score_drop,
                                          UNITY_MANTISSA, self.model.score_shift - q_e - k_e.mT))

    def _weights(self, score: Tensor, causal: Tensor, reach: Tensor) -> tuple[Tensor, Tensor]:
        """Weights of scores (H, T, T), not divided, and what each query's are divided by."""
        if self.config.attention is Attention.gate:
            return score.clamp(min=0), reach[:, None].expand(len(score), -1, 1)
        largest = score.masked_fill(~causal, torch.iinfo(torch.int64).min).amax(-1, keepdim=True)
        p = a.exp2((largest - score).clamp(min=0), self.tables) * causal
        return p, p.sum(-1, keepdim=True)

    def _mlp(self, x: Tensor, name: str, record: Record) -> Tensor:
        F = self.model.fraction
        gate = self._normed(x, f"{name}.gate")                           # (T, hidden)
        up = self._normed(x, f"{name}.up")
        silu = a.silu(gate, F, self.tables)
        exponent = a.code_exponent(silu)
        product = self._counted(f"{name}.product", a.scale(
            self.gathers.modulate(a.encode(silu, exponent), up, None), F - exponent))
        down = self._residual(product, f"{name}.down", self.rows[f"{name}.down"], x)
        record |= {f"{name}.gate": gate, f"{name}.up": up, f"{name}.silu": silu,
                   f"{name}.product": product, f"{name}.down": down}
        return down
