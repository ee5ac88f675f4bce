"""Attention in the device's integers: from codes of queries, keys and values to mixed values.

T is the sequence, H the query heads, K the key/value heads, G = H / K, hd a head's width. G query
heads share one key/value head; their queries are the rows of one product, (K, T G, hd).
"""

from functools import cache

import numpy as np
import torch
from torch import Tensor

from golden.checkpoints.config import Attention
from golden.decoder import Record
from golden.spiking_model import arithmetic as a
from golden.spiking_model import lookups
from golden.spiking_model.arithmetic import Scalars
from golden.spiking_model.loaded import LoadedModel
from isa.formats import ARRIVED_MAXIMUM, CODE, EXP2_FRACTION, UNITY_SHIFT, VECTOR
from isa.schedule import Population

ROWS = 128  # queries whose scores are formed at a time; keys after the last one are left out


@cache
def after(positions: int, group: int) -> Tensor:
    """The causal mask that is added to scores, (positions G, positions): -inf after the query."""
    return torch.full((positions, positions), -torch.inf).triu(1).repeat_interleave(group, 0)


def mix(model: LoadedModel, name: str, query: tuple[Tensor, Scalars],
        key: tuple[Tensor, Scalars], value: tuple[Tensor, Scalars, Scalars],
        record: Record | None) -> Tensor:
    """Mixed values (T, H hd), float64, each position over itself and those before it.

    ROWS queries are taken at a time, with the keys that they can reach. Codes come as
    (heads, T, hd), their exponents and the values' alignments as (heads, T, 1).
    """
    (q, q_e), (k, k_e), (v, v_e, alignment) = query, key, value
    (H, T, hd), K, m, gathers = q.shape, len(k), model.model, model.gathers
    G = H // K
    model.fired(f"{name}.score", q, torch.arange(1, T + 1))  # positions 0..p
    q = q.reshape(K, G, T, hd).transpose(1, 2).reshape(K, T * G, hd)
    q_e = q_e.reshape(K, G, T).swapaxes(1, 2).reshape(K, T * G, 1)
    alignment = np.repeat(alignment, G, 1)                               # (K, T G, 1)
    # gain = whole * 2**drop + part: only the product with `part` needs rounding, and it is short.
    whole, part = divmod(m.score_gain, 1 << m.score_drop)
    kind = a.exact_type(hd * ARRIVED_MAXIMUM * CODE.maximum << m.score_drop)
    k, half = k.mT.contiguous(), a.HALF[kind]                            # (K, hd, T)
    q_e = q_e - (m.score_shift - UNITY_SHIFT)
    clips = q_e.max() + k_e.max() > 0
    q_power, k_power = a.power(q_e, np.float32), a.power(k_e, np.float32).mT
    down, up = a.power(-alignment, np.float32), a.power(v_e, np.float32).mT
    # Softmax masks later positions anyway; the gate, saturation counts and records need them at 0.
    masked = clips or record is not None or m.config.attention is Attention.gate
    sums = torch.empty(T, K, G, hd, dtype=torch.float64)
    exponents, totals = np.empty_like(q_e), np.empty_like(q_e)           # (K, T G, 1)
    for first in range(0, T, ROWS):
        end = min(first + ROWS, T)
        at, causal = slice(first * G, end * G), after(ROWS, G)[:(end - first) * G, :end - first]
        acc = gathers.rows(gathers.fire(q[:, at], Population.attention), k[..., :end]).to(kind)
        score = torch.add(half, acc, alpha=part * 2.0**-m.score_drop).floor_()
        score = score.add_(acc, alpha=whole).to(torch.float32).mul_(q_power[:, at])
        score = a.product_half_up_(score, k_power[..., :end])            # (K, rows G, seen)
        own = score[..., first:]
        if masked:
            own.masked_fill_(causal < 0, 0)                              # later positions are 0
        if clips:
            score.copy_(model.counted(f"{name}.score", a.saturate(score)))
        keep_rows(record, f"{name}.score", score, first, T)
        if m.config.attention is Attention.gate:
            p = score.clamp_(min=0)
            totals[:, at] = np.arange(first + 1, end + 1).repeat(G)[:, None]
        else:
            own.add_(causal)
            t = torch.sub(score.amax(-1, keepdim=True), score, out=score)
            p = lookups.exp2(t, model.tables)
            totals[:, at] = p.sum(
                -1, keepdim=True, dtype=a.exact_type(end << EXP2_FRACTION)).numpy()
        p = a.product_half_up_(p.mul_(down[:, at]), up[..., :end])       # 2**(v_e - alignment)
        keep_rows(record, f"{name}.probability", p, first, T)
        p_e = exponents[:, at] = a.exponent_of(p.amax(-1, keepdim=True))
        codes = a.encode_(p, p_e)
        model.fired(f"{name}.mixed", codes, hd, H * sum(range(first + 1, end + 1)))
        mixed = gathers.rows(gathers.fire(codes, Population.attention), v[:, :end])
        sums[first:end] = mixed.view(K, -1, G, hd).transpose(0, 1)
    if T * ARRIVED_MAXIMUM * CODE.maximum > VECTOR.maximum:
        sums = model.counted(f"{name}.mixed", a.saturate(sums))
    mantissa, e = lookups.reciprocal(totals, model.tables)
    shift = m.mix_shift() - (exponents + e + alignment)
    mixed = model.counted(f"{name}.mixed", a.post(
        sums, *(z.reshape(K, T, G, 1).swapaxes(0, 1) for z in (mantissa, shift))))
    if record is not None:
        for h, part in enumerate(mixed.flatten(1, 2).unbind(1)):
            keep(record, f"{name}.mixed.{h}", part)
    return mixed.view(T, H * hd)


def keep(record: Record | None, name: str, value: Tensor | Scalars, heads: bool = False) -> None:
    """Puts a vector into the record, if there is one, as int64; heads (H, T, n) position first."""
    if record is not None:
        value = torch.as_tensor(value)
        record[name] = (value.transpose(0, 1).flatten(1) if heads else value).to(torch.int64)


def keep_rows(record: Record | None, name: str, rows: Tensor, first: int, T: int) -> None:
    """Puts rows (K, n G, seen), of queries from `first` on, into each head's (T, T) of a record."""
    if record is None:
        return
    n, seen = rows.shape[-1] - first, rows.shape[-1]
    for h, part in enumerate(rows.view(len(rows), n, -1, seen).transpose(1, 2).flatten(0, 1)):
        matrix = record.setdefault(f"{name}.{h}", torch.zeros(T, T, dtype=torch.int64))
        matrix[first:first + n, :seen] = part.to(torch.int64)
