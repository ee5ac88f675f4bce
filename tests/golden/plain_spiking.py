"""docs/numerics.md once more: token by token, head by head, in golden/units alone.

And one neuron in plain Python, which shares nothing with anything.
"""

from collections.abc import Iterable

import numpy as np

from golden.checkpoints.config import Attention
from golden.quantisation.quantise import QuantisedModel
from golden.quantisation.synapses import Synapses
from golden.units import attention, fixed
from golden.units.attention import modulate, rotate
from golden.units.functions import silu
from golden.units.norm import norm_scalar
from golden.units.post import post
from isa.schedule import Reset, Step


def plain_neuron(code: int, steps: Iterable[Step]) -> list[tuple[int, int]]:
    """(potential, sign of the spike) after each step of one neuron, as golden/units/neuron.py's
    docstring says it, number by number."""
    def cut(v: int) -> int:
        return max(-32767, min(32767, v))

    v, history = code, []
    for entry in steps:
        if entry.integrate:
            v = cut(v + code)
        sign = 0
        if abs(v) >= entry.threshold:
            sign = 1 if v > 0 else -1
        if entry.reset is Reset.SOFT:
            v -= sign << entry.amplitude
        if entry.reset is Reset.HARD and sign:
            v = 0
        if entry.leak == 15:
            v = 0
        elif entry.leak:
            v -= v >> entry.leak
        v = cut(v)
        history.append((v, sign))
    return history


def coded(vector: np.ndarray) -> tuple[np.ndarray, int]:
    exponent = fixed.code_exponent(fixed.magnitude(vector))
    return fixed.encode(vector, exponent), exponent


class PlainModel:
    """Runs one token after the other; `record` lists each vector's rows, `saturations` counts."""

    def __init__(self, model: QuantisedModel) -> None:
        self.model = model
        c = model.config
        self.cache = [[([], [], [], []) for _ in range(c.kv_heads)] for _ in range(c.layers)]
        self.record: dict[str, list[np.ndarray]] = {}
        self.saturations = 0

    def _keep(self, name: str, result):
        value, saturations = result
        self.saturations += saturations
        return self._note(name, value)

    def _note(self, name: str, value):
        self.record.setdefault(name, []).append(np.array(value))
        return value

    def _normed(self, name: str, x: np.ndarray, s: Synapses) -> np.ndarray:
        codes, exponent = coded(x)
        mantissa, e = norm_scalar(codes, exponent, self.model.norm, self.model.tables)
        return self._keep(name, post(s.weight @ codes, s.gain, s.drop, mantissa,
                                     self.model.norm_shift(s) - e, s.bias))

    def _residual(self, name: str, vector: np.ndarray, s: Synapses, x: np.ndarray) -> np.ndarray:
        codes, exponent = coded(vector)
        return self._keep(name, post(s.weight @ codes, s.gain, s.drop, 128,
                                     self.model.residual_shift(s) - exponent, residual=x))

    def token(self, token: int, position: int) -> np.ndarray:
        m, c = self.model, self.model.config
        hd, F = c.head_dim, m.fraction
        e = m.embedding
        x = self._keep("embedding", post(e.weight[:, token], e.gain, e.drop, 128,
                                         m.embedding_shift()))
        for n, layer in enumerate(m.layers):
            name = f"layers.{n}"
            qkv = self._normed(f"{name}.qkv", x, layer.qkv)
            heads = qkv[:(c.heads + c.kv_heads) * hd].reshape(-1, hd)
            rotated = self._keep("", rotate(heads, m.cosine[position], m.sine[position]))
            self._note(f"{name}.rotated", rotated.ravel())
            values = qkv[(c.heads + c.kv_heads) * hd:].reshape(-1, hd)
            stored: dict[str, list] = {"key": [], "key_exponent": [], "value": [],
                                       "value_exponent": [], "alignment": []}
            for g in range(c.kv_heads):
                k, k_e = coded(rotated[c.heads + g])
                v, v_e = coded(values[g])
                for row, item in zip(self.cache[n][g], (k, k_e, v, v_e), strict=True):
                    row.append(item)
                for what, item in zip(stored, (k, k_e, v, v_e, max(self.cache[n][g][3])),
                                      strict=True):
                    stored[what].append(item)
            for what, items in stored.items():
                self._note(f"{name}.{what}", np.ravel(items))
            mixed = []
            for h in range(c.heads):
                keys, key_e, cached, value_e = self.cache[n][h // c.group]
                q, q_e = coded(rotated[h])
                score = self._keep(f"{name}.score.{h}", post(
                    np.array(keys) @ q, m.score_gain, m.score_drop, 128,
                    m.score_shift - q_e - np.array(key_e)))
                gated = c.attention is Attention.gate
                weigh = attention.gate if gated else attention.softmax
                p, mantissa, scalar_e = weigh(score, value_e, max(value_e), m.tables)
                self._note(f"{name}.probability.{h}", p)
                p_code, p_e = coded(p)
                mixed.append(self._keep(f"{name}.mixed.{h}", post(
                    p_code @ np.array(cached), 128, 7, mantissa,
                    (12 if gated else 0) - (p_e + scalar_e))))
            x = self._residual(f"{name}.attended", np.concatenate(mixed), layer.out, x)
            gate = self._normed(f"{name}.gate", x, layer.gate)
            up = self._normed(f"{name}.up", x, layer.up)
            driver = self._note(f"{name}.silu", silu(gate, F, m.tables))
            _, driver_e = coded(driver)
            product = self._keep(f"{name}.product", modulate(driver, driver_e, up, F))
            x = self._residual(f"{name}.down", product, layer.down, x)
        return self._normed("logits", x, m.head)


def compare(record: dict, plain: PlainModel) -> int:
    """Every recorded vector at every position; returns how many numbers were compared."""
    plain.record.pop("", None)
    assert record.keys() == plain.record.keys()
    count = 0
    for name, rows in plain.record.items():
        for position, expected in enumerate(rows):
            got = record[name][position].numpy()
            assert not got[len(expected):].any(), (name, position)
            wrong = np.flatnonzero(got[:len(expected)] != expected)
            assert not len(wrong), (f"{name} position {position} element {wrong[0]}: expected "
                                    f"{expected[wrong[0]]}, got {got[wrong[0]]}")
            count += len(expected)
    return count
