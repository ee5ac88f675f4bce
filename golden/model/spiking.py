"""The integer spiking BrainGPT: a whole sequence at once, in exactly the integers of the device.

docs/numerics.md names every vector and its formats; golden/units defines every step. Positions are
batched: T is the sequence, H the query heads, K the key/value heads, hd a head's width.

Integers are carried in floating point, in a type in which they are exact: vectors in float64;
codes, scores and probabilities, which have 24 bits at most, in float32.
"""

from collections.abc import Callable
from dataclasses import fields

import torch

from golden.memories import spike_response
from golden.model import arithmetic as a
from golden.model.activity import Activity as Activity
from golden.model.activity import Counters, Fired
from golden.model.arithmetic import Shift, Tensor
from golden.model.config import Attention
from golden.model.quantise import Layer, QuantisedModel, Synapses
from golden.model.spiking_time import AtOnce, InTime, Volley, gathering_type, population_of
from isa.errors import SpikeletError
from isa.formats import (
    ARRIVED_MAXIMUM,
    CODE,
    EXP2_CLAMP,
    EXP2_FRACTION,
    UNITY_MANTISSA,
    UNITY_SHIFT,
    VECTOR,
)
from isa.schedule import Population, Schedule

Record = dict[str, Tensor]
ROWS = 128  # queries whose scores are formed at a time: what is after the last of them is left out
CAUSAL = torch.ones(ROWS, ROWS).tril()
AFTER = torch.full((ROWS, ROWS), -torch.inf).triu(1)  # added to scores of positions after a query's
LAYER_MAPS = tuple(f.name for f in fields(Layer))
# Gets an operator's name, its codes (..., n), the width of the rows that they gather (one, or one
# for each of the leading axes) and how many of the codes are neurons (None: all). An operator may
# come in several parts.
Watch = Callable[[str, Tensor, int | Tensor, int | None], None]


class Rows:
    """A linear map's tensors: rows (inputs, outputs) in BLAS's type, gain * 2**-drop, bias.

    Rows that are only picked (`one_hot`) stay int8.
    """

    def __init__(self, synapses: Synapses, one_hot: bool = False) -> None:
        kind = a.exact_type(synapses.inputs * CODE.maximum * CODE.maximum)
        rows = torch.from_numpy(synapses.weight.T)
        self.weight = rows if one_hot else rows.to(kind).contiguous()
        self.outline = synapses.outline()
        self.gain = a.factor(torch.tensor(synapses.gain), torch.tensor(synapses.drop))
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
        self.gathers = AtOnce(own) if schedule is None else InTime(schedule, own)
        self.tables = a.Tables.of(quantised.tables)
        self.cosine, self.sine = (a.real(torch.tensor(z))
                                  for z in (quantised.cosine, quantised.sine))
        self.silu = a.silu_values(quantised.fraction, self.tables)
        self.rows: dict[str, Rows] = {}
        if load:
            self.load("embedding", quantised.embedding)
            for n, layer in enumerate(quantised.layers):
                self.load_layer(n, layer)
            self.load("logits", quantised.head)
        self.spikes_of = {p: torch.tensor([0, *spike_response(s)[1]]) for p, s in own.items()}
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

    def _counted(self, name: str, result: tuple[Tensor, int]) -> Tensor:
        value, saturations = result
        self.counters.saturations[name] += saturations
        return value

    def _fired(self, name: str, codes: Tensor, outputs: int | Tensor,
               neurons: int | None = None) -> None:
        """Counts the neurons of `codes` (..., n) and the rows, `outputs` wide, that they gather."""
        if self.watch is not None:
            self.watch(name, codes.to(torch.int64), outputs, neurons)
        fired = self.counters.fired.get(name)
        if fired is None:
            table = self.spikes_of.get(population_of(name))
            fired = self.counters.fired[name] = Fired() if table is None else Fired(table)
        fired.add(codes, outputs, neurons)

    # ---- operators ---------------------------------------------------------------------------

    def embed(self, ids: Tensor) -> Tensor:
        """The residual vectors (T, dim) of tokens: each token's neuron fires once, amplitude 1."""
        rows, name = self.rows["embedding"], "embedding"
        fired = self.counters.fired.setdefault(name, Fired())
        fired.add(torch.ones_like(ids), rows.weight.shape[1], None)
        return self._counted(name, a.post_scaled(a.half_up_(rows.weight[ids] * rows.gain),
                                                 UNITY_MANTISSA, self.model.embedding_shift()))

    def _linear(self, name: str, rows: Rows, codes: Tensor, fired: Tensor | Volley,
                mantissa: Shift, shift: Shift, residual: Tensor | None = None) -> Tensor:
        self._fired(name, codes, len(rows.gain))
        # The quantiser chooses drops so that nothing saturates here.
        sums = self.gathers.rows(fired, rows.weight).to(torch.float64)
        y = a.product_half_up_(sums, rows.gain)
        return self._counted(name, a.post_scaled(y, mantissa, shift, rows.bias, residual))

    def _normed(self, x: Tensor, *names: str) -> list[Tensor]:
        """RMSNorm then linear maps: x (T, n) is coded first, 1/rms modulates the sums."""
        codes, exponent = a.code(x)                                      # (T, n), (T, 1)
        fired = self.gathers.fire(codes, population_of(names[0]))
        squares = self.gathers.modulate(fired, codes).sum(
            -1, keepdim=True, dtype=gathering_type(codes))
        mantissa, e = a.norm_scalar(squares, exponent, self.model.norm, self.tables)
        maps = [(name, self.rows[name]) for name in names]
        return [self._linear(name, rows, codes, fired, mantissa,
                             self.model.norm_shift(rows.outline) - e)
                for name, rows in maps]

    def _residual(self, vector: Tensor, name: str, rows: Rows, residual: Tensor) -> Tensor:
        """A linear map of `vector` added to the residual stream."""
        codes, exponent = a.code(vector)
        fired = self.gathers.fire(codes, population_of(name))
        return self._linear(name, rows, codes, fired, UNITY_MANTISSA,
                            self.model.residual_shift(rows.outline) - exponent, residual)

    def _attention(self, x: Tensor, name: str, record: Record | None) -> Tensor:
        c, T = self.config, len(x)
        H, K, hd = c.heads, c.kv_heads, c.head_dim
        qkv, = self._normed(x, f"{name}.qkv")                            # (T, (H + 2 K) hd)
        heads = qkv.view(T, H + 2 * K, hd).transpose(0, 1)               # (H + 2 K, T, hd)
        rotated = self._counted(f"{name}.rotated", a.rotate(heads[:H + K], self.cosine[:T],
                                                            self.sine[:T]))
        (q, k), (q_e, k_e) = (z.split((H, K)) for z in a.code(rotated))
        v, v_e = a.code(heads[H + K:])                                   # (K, T, hd), (K, T, 1)
        alignment = v_e.cummax(1).values                                 # causal: over 0..p
        keep(record, f"{name}.qkv", qkv)
        for part, value in (("rotated", rotated), ("key", k), ("value", v), ("key_exponent", k_e),
                            ("value_exponent", v_e), ("alignment", alignment)):
            keep(record, f"{name}.{part}", value, heads=True)
        # Query head h listens to key/value head h // group.
        k, k_e, v, v_e, alignment = (z.repeat_interleave(c.group, 0)
                                     for z in (k, k_e, v, v_e, alignment))
        mixed = self._mixed(name, (q, q_e), (k, k_e), (v, v_e, alignment), record)
        x = self._residual(mixed.transpose(0, 1).flatten(1), f"{name}.attended",
                           self.rows[f"{name}.out"], x)
        keep(record, f"{name}.attended", x)
        return x

    def _mixed(self, name: str, query: tuple[Tensor, Tensor], key: tuple[Tensor, Tensor],
               value: tuple[Tensor, Tensor, Tensor], record: Record | None) -> Tensor:
        """Values mixed causally (H, T, hd): ROWS queries at a time, with what they can reach."""
        (q, q_e), (k, k_e), (v, v_e, alignment) = query, key, value
        H, T, hd = q.shape
        reach = torch.arange(1, T + 1)                                   # positions 0..p
        self._fired(f"{name}.score", q, reach)
        # Only what the gain has below 2**drop needs rounding: this keeps products short.
        m = self.model
        whole, part = divmod(m.score_gain, 1 << m.score_drop)
        kind = a.exact_type(hd * ARRIVED_MAXIMUM * CODE.maximum << m.score_drop)
        k, half = k.to(kind).mT.contiguous(), a.HALF[kind]            # (H, hd, T)
        q_power = a.power(q_e - m.score_shift + UNITY_SHIFT).to(torch.float32)    # (H, T, 1)
        k_power = a.power(k_e).to(torch.float32).mT                               # (H, 1, T)
        clips = bool(VECTOR.maximum * q_power.max() * k_power.max() > VECTOR.maximum)
        down, up = a.power(-alignment).to(torch.float32), a.power(v_e).to(torch.float32).mT
        # Softmax leaves out what comes after a query anyway; the gate, counts and records do not.
        masked = clips or record is not None or self.config.attention is Attention.gate
        sums, exponents, totals = [], [], []
        for first in range(0, T, ROWS):
            at, seen = slice(first, first + ROWS), slice(0, first + ROWS)
            queries = self.gathers.fire(q[:, at], Population.attention)
            acc = self.gathers.rows(queries, k[..., seen])
            score = torch.add(half, acc, alpha=part * 2.0**-m.score_drop).floor_()
            score = score.add_(acc, alpha=whole).to(torch.float32).mul_(q_power[:, at])
            score = a.product_half_up_(score, k_power[..., seen])
            if masked:
                own = score[..., at]                                     # (H, rows, rows)
                own.mul_(CAUSAL[:own.shape[1], :own.shape[1]])           # what is not there is 0
            if clips:
                score = self._counted(f"{name}.score", a.saturate(score))
            keep_rows(record, f"{name}.score", score, first, T)
            p, total = self._weights(score, reach[at])
            p = a.product_half_up_(p.mul_(down[:, at]), up[..., seen])   # 2**(v_e - alignment)
            keep_rows(record, f"{name}.probability", p, first, T)
            p_e = a.exponent_of(p.amax(-1, keepdim=True))
            codes = a.half_up_(p.mul_(a.power(-p_e).to(torch.float32)))
            codes.clamp_(max=CODE.maximum)
            self._fired(f"{name}.mixed", codes, hd, H * int(reach[at].sum()))
            weights = self.gathers.fire(codes, Population.attention)
            sums.append(self.gathers.rows(weights, v[:, seen]))          # (H, rows, hd)
            exponents.append(p_e)
            totals.append(total)
        mantissa, e = a.reciprocal(torch.cat(totals, 1), self.tables)    # (H, T, 1)
        mixed = self._counted(f"{name}.mixed", a.post(
            torch.cat(sums, 1).to(torch.float64), UNITY_MANTISSA, UNITY_SHIFT, mantissa,
            m.mix_shift() - (torch.cat(exponents, 1) + e + alignment)))
        for h in range(H):
            keep(record, f"{name}.mixed.{h}", mixed[h])
        return mixed

    def _weights(self, score: Tensor, reach: Tensor) -> tuple[Tensor, Tensor]:
        """Weights of scores (H, rows, n), not divided, and what each query's are divided by.

        Of the last `rows` positions the queries see those up to their own.
        """
        if self.config.attention is Attention.gate:
            return score.clamp_(min=0), reach[:, None].expand(len(score), -1, 1)
        rows = len(reach)
        score[..., -rows:].add_(AFTER[:rows, :rows])
        t = torch.sub(score.amax(-1, keepdim=True), score, out=score)
        p = a.look_up(self.tables.exp2, t.clamp_(max=EXP2_CLAMP))
        return p, p.sum(-1, keepdim=True, dtype=a.exact_type(p.shape[-1] << EXP2_FRACTION))

    def _mlp(self, x: Tensor, name: str, record: Record | None) -> Tensor:
        F = self.model.fraction
        gate, up = self._normed(x, f"{name}.gate", f"{name}.up")         # (T, hidden)
        silu = a.silu_at_once(gate, self.silu)
        codes, exponent = a.code(silu)
        gates = self.gathers.fire(codes, None)
        product = self._counted(f"{name}.product", a.scale(
            self.gathers.modulate(gates, up), F - exponent))
        down = self._residual(product, f"{name}.down", self.rows[f"{name}.down"], x)
        for part, value in (("gate", gate), ("up", up), ("silu", silu), ("product", product),
                            ("down", down)):
            keep(record, f"{name}.{part}", value)
        return down


def keep(record: Record | None, name: str, value: Tensor, heads: bool = False) -> None:
    """Puts a vector into the record, if there is one, as int64; heads (H, T, n) position first."""
    if record is not None:
        record[name] = (value.transpose(0, 1).flatten(1) if heads else value).to(torch.int64)


def keep_rows(record: Record | None, name: str, rows: Tensor, first: int, T: int) -> None:
    """Puts rows (H, n, seen) from row `first` on into each head's matrix (T, T) of a record."""
    if record is not None:
        for h, part in enumerate(rows):
            matrix = record.setdefault(f"{name}.{h}", torch.zeros(T, T, dtype=torch.int64))
            matrix[first:first + part.shape[0], :part.shape[1]] = part.to(torch.int64)
