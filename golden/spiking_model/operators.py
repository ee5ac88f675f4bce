"""The decoder's operators in the device's integers, batched over positions.

T is the sequence, H the query heads, K the key/value heads, hd a head's width. Vectors are
(T, elements), integers in float64. docs/numerics.md names every vector and its formats;
golden/units defines every step.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from golden.decoder import MAPS, Record, full_name
from golden.spiking_model import arithmetic as a
from golden.spiking_model import lookups
from golden.spiking_model.arithmetic import Scalars
from golden.spiking_model.attention import keep, mix
from golden.spiking_model.in_time import Volley
from golden.spiking_model.loaded import LoadedModel, Rows
from isa.formats import UNITY_MANTISSA


class Coded(NamedTuple):
    """A vector that is about to fire: int8 codes (T, n) and their exponents (T, 1)."""

    codes: Tensor
    exponent: Scalars


class SpikingArithmetic:
    """One pass over a sequence; `record` receives every vector as int64."""

    def __init__(self, loaded: LoadedModel, record: Record | None = None) -> None:
        self.loaded, self.model, self.record = loaded, loaded.model, record
        self.gathers, self.tables = loaded.gathers, loaded.tables

    def _keep(self, n: int, name: str, value: Tensor | Scalars, heads: bool = False) -> None:
        if self.record is not None:                                      # saves making the name
            keep(self.record, full_name(n, name), value, heads)

    def embed(self, ids: Tensor) -> Tensor:
        """The residual vectors (T, dim) of tokens: each token's neuron fires once, amplitude 1."""
        rows, name = self.loaded.rows["embedding"], "embedding"
        width = rows.weight.shape[1]
        self.loaded.counters.add(name, torch.ones_like(ids, dtype=torch.int8), width)
        y = a.half_up_(rows.weight[ids] * rows.gain)
        shift = np.array(self.model.embedding_shift())
        x = self.loaded.counted(name, a.post(y, UNITY_MANTISSA, shift))
        keep(self.record, name, x)
        return x

    def _linear(self, result: str, rows: Rows, codes: Tensor, fired: Tensor | Volley,
                mantissa: Scalars | int, shift: Scalars, residual: Tensor | None = None) -> Tensor:
        self.loaded.fired(result, codes, len(rows.gain))
        # The quantiser chooses drops so that nothing saturates here.
        sums = self.gathers.rows(fired, rows.weight).to(torch.float64)
        y = a.product_half_up_(sums, rows.gain)
        y = self.loaded.counted(result, a.post(y, mantissa, shift, rows.bias, residual))
        keep(self.record, result, y)
        return y

    def normed(self, x: Tensor, n: int | None, maps: tuple[str, ...]) -> list[Tensor]:
        """RMSNorm, then linear maps: x is coded first, 1/rms is the scalar behind the sums."""
        codes, exponent = a.code(x)                                      # (T, n), (T, 1)
        population = MAPS[maps[0]].population
        fired = self.gathers.fire(codes, population)
        squares = self.gathers.squares(fired, codes, population).numpy()
        mantissa, e = lookups.norm_scalar(squares, exponent, self.model.norm, self.tables)
        names = [full_name(n, name) for name in maps]
        return [self._linear(name, rows, codes, fired, mantissa,
                             self.model.norm_shift(rows.outline) - e)
                for name, rows in ((name, self.loaded.rows[name]) for name in names)]

    def attend(self, qkv: Tensor, n: int) -> Coded:
        """(T, (H + 2 K) hd), which is overwritten -> the mixed values (T, H hd), coded."""
        loaded, c, T = self.loaded, self.loaded.config, len(qkv)
        H, K, hd = c.heads, c.kv_heads, c.head_dim
        heads = qkv.view(T, H + 2 * K, hd).transpose(0, 1)               # (H + 2 K, T, hd)
        a.rotate_(heads[:H + K], loaded.rotary[:T])
        heads, clipped, codes, exponent = a.saturated_code(heads)
        loaded.counters.saturations[full_name(n, "rotated")] += clipped
        q, k, v = codes.split_with_sizes((H, K, K))
        q_e, k_e, v_e = exponent[:H], exponent[H:H + K], exponent[H + K:]    # (H or K, T, 1)
        alignment = np.maximum.accumulate(v_e, 1)                        # causal: over 0..p
        for name, value in (("rotated", heads[:H + K]), ("key", k), ("value", v),
                            ("key_exponent", k_e), ("value_exponent", v_e),
                            ("alignment", alignment)):
            self._keep(n, name, value, heads=True)
        return Coded(*a.code(mix(loaded, f"layers.{n}", (q, q_e), (k, k_e), (v, v_e, alignment),
                                 self.record)))

    def residual(self, coded: Coded, n: int, name: str, x: Tensor) -> Tensor:
        """A linear map of a coded vector, added to the residual stream."""
        rows = self.loaded.rows[full_name(n, name)]
        fired = self.gathers.fire(coded.codes, MAPS[name].population)
        shift = self.model.residual_shift(rows.outline) - coded.exponent
        return self._linear(full_name(n, MAPS[name].result), rows, coded.codes, fired,
                            UNITY_MANTISSA, shift, x)

    def gated(self, gate: Tensor, up: Tensor, n: int) -> Coded:
        """SiLU of the gate, coded, gates `up` (T, hidden) element by element; coded again."""
        silu = lookups.silu_at_once(gate, self.loaded.silu)
        codes, exponent = a.code(silu)
        gates = self.gathers.fire(codes, None)
        product = self.gathers.modulate(gates, up).mul_(a.power(exponent - self.model.fraction))
        product, clipped, codes, exponent = a.saturated_code(a.half_up_(product))
        self.loaded.counters.saturations[full_name(n, "product")] += clipped
        self._keep(n, "silu", silu)
        self._keep(n, "product", product)
        return Coded(codes, exponent)
