"""Third pass: the program of one token, in an order that keeps all three units busy."""

from collections.abc import Mapping
from dataclasses import replace

from golden.checkpoints.config import Attention
from golden.quantisation.quantise import QuantisedModel
from host.compiler.hazards import Hazards
from host.compiler.instructions import Program, Source
from host.compiler.layout import Layout
from isa.formats import UNITY_MANTISSA, UNITY_SHIFT
from isa.instructions import Opcode, Operation, Scale
from isa.schedule import Population

WEIGHTS = {Attention.softmax: Operation.SOFTMAX, Attention.gate: Operation.GATE}


def build(
    q: QuantisedModel, a: Layout, first_step: Mapping[Population, int], hazards: Hazards
) -> Program:
    """The whole program: embedding, layers, HEAD, head, END. The maps of q do not matter."""
    p = Program(a, first_step, hazards)
    p.linear("embedding", "embedding", None,
             dict(to_vector=1, destination=a.x, magnitude=a.m_x),
             lambda m: replace(q, embedding=m).embedding_shift())
    for n in range(a.shapes.layers):
        _Layer(p, q, a, n).build()
    p.control(Opcode.HEAD)
    p.linear("logits", "head", Source(a.x, a.m_x, Population.head), dict(argmax=1, to_host=1),
             q.norm_shift, norm=True)
    p.control(Opcode.END)
    return p


class _Layer:
    """Appends the instructions of one layer."""

    def __init__(self, p: Program, q: QuantisedModel, a: Layout, n: int) -> None:
        self.p, self.q, self.a, self.n = p, q, a, n
        self.s, self.name = a.shapes, f"layers.{n}."

    def build(self) -> None:
        s, buffers = self.s, self.a.buffers
        self._project("key_value", s.heads)
        self._rotate("rotated_key", s.heads, s.kv_heads)
        self._store()
        self._project("query", 0)
        self._rotate("rotated_query", 0, s.heads)
        # Scores run ahead of mixes, so that a head's weights hide behind another head's gathers.
        ahead = min(buffers, s.heads) - 1
        for h in range(s.heads + ahead):
            if h < s.heads:
                self._score(h)
            if h >= ahead:
                self._mix(h - ahead)
        self._feed_forward()

    def _project(self, map: str, first: int) -> None:
        """Heads from `first` on, each with a magnitude register of its own."""
        a, words = self.a, self.s.head_words
        post = dict(to_vector=1, destination=a.qkv + first * words, magnitude=a.m_qkv + first,
                    segment=words)
        source = Source(a.x, a.m_x, Population.qkv)
        self.p.linear(self.name + map, self.name + map, source, post, self.q.norm_shift, norm=True)

    def _rotate(self, label: str, first: int, heads: int) -> None:
        a, words = self.a, self.s.head_words
        self.p.vector(
            self.name + label, Operation.ROTATE,
            source=a.qkv + first * words, destination=a.rotated + first * words,
            count=heads * words, magnitude_out=a.m_rotated + first, segment=words,
        )  # fmt: skip

    def _store(self) -> None:
        """Rotated keys, and values, of this position into the cache."""
        p, a, s, n = self.p, self.a, self.s, self.n
        words = s.head_words
        heads = dict(count=s.kv_heads * words, segment=words, exponent_address=a.exponent_word(n))
        p.vector(
            self.name + "key", Operation.STORE_KEY, **heads, row_base=a.key_row(n),
            source=a.rotated + s.heads * words, magnitude_in=a.m_rotated + s.heads,
        )  # fmt: skip
        p.vector(
            self.name + "value", Operation.STORE_VALUE, **heads, row_base=a.value_row(n),
            source=a.qkv + (s.heads + s.kv_heads) * words, magnitude_in=a.m_values,
            operand=a.value_lane(n) // s.c.vector_lanes, row_stride=a.value_stride,
            alignment=n * s.kv_heads,
        )  # fmt: skip

    def _score(self, h: int) -> None:
        """Scores of query head h, then the weights that softmax or the gate makes of them."""
        p, q, a, s, n = self.p, self.q, self.a, self.s, self.n
        b, kv = h % a.buffers, h * s.kv_heads // s.heads
        exponents = a.exponent_word(n) + kv * a.exponent_stride
        p.gather(
            f"{self.name}score.{h}",
            Source(a.rotated + h * s.head_words, a.m_rotated + h, Population.attention),
            dict(count=s.head, dynamic_outputs=1, tile_stride=s.key_stride,
                 row_base=a.key_row(n) + kv * s.head // s.c.cores),
            dict(dynamic_count=1, gain=q.score_gain, drop=q.score_drop, shift=q.score_shift,
                 use_exponent=1, key_exponents=1, exponent_address=exponents, to_vector=1,
                 use_maximum=1, maximum=b, destination=a.scores[b], magnitude=a.m_scores),
        )  # fmt: skip
        p.vector(
            f"{self.name}probability.{h}", WEIGHTS[q.config.attention],
            source=a.scores[b], destination=a.scores[b], maximum=b, scalar=b,
            magnitude_out=a.m_probabilities + b, exponent_address=exponents,
            alignment=n * s.kv_heads + kv,
        )  # fmt: skip

    def _mix(self, h: int) -> None:
        """Values of positions 0..p mixed by the probabilities of head h."""
        a, s, c, n = self.a, self.s, self.s.c, self.n
        b, kv = h % a.buffers, h * s.kv_heads // s.heads
        lane = a.value_lane(n) + kv * s.head
        # The heads' magnitudes join in one register: the last POST of the layer covers the vector.
        self.p.gather(
            f"{self.name}mixed.{h}",
            Source(a.scores[b], a.m_probabilities + b, Population.attention),
            dict(dynamic_count=1, outputs=s.head, tile_stride=a.value_stride,
                 row_base=a.value_row(n) + lane // c.lanes * a.value_stride),
            dict(count=s.head, lane_offset=lane % c.lanes // c.vector_lanes, gain=UNITY_MANTISSA,
                 drop=UNITY_SHIFT, scale=Scale.SCALAR, scalar=b, shift=self.q.mix_shift(),
                 use_exponent=1, to_vector=1, destination=a.mixed + h * s.head_words,
                 magnitude=a.m_mixed, join_magnitude=h > 0),
        )  # fmt: skip

    def _feed_forward(self) -> None:
        """The attention's output and the gated unit, each added to the residual stream."""
        p, q, a, name = self.p, self.q, self.a, self.name
        words = self.s.words(self.s.hidden)
        residual = dict(to_vector=1, use_residual=1, use_exponent=1)
        p.linear(
            name + "attended", name + "out", Source(a.mixed, a.m_mixed, Population.out),
            residual | dict(residual=a.x, destination=a.attended, magnitude=a.m_attended),
            q.residual_shift,
        )  # fmt: skip
        attended = Source(a.attended, a.m_attended, Population.gated)
        for map, destination, magnitude in (("gate", a.gate, a.m_gate), ("up", a.up, a.m_up)):
            post = dict(to_vector=1, destination=destination, magnitude=magnitude)
            p.linear(name + map, name + map, attended, post, q.norm_shift, norm=True)
        p.vector(name + "silu", Operation.SILU, source=a.gate, destination=a.silu, count=words,
                 magnitude_out=a.m_silu)
        p.vector(
            name + "product", Operation.MODULATE, source=a.silu, operand=a.up,
            destination=a.product, count=words, magnitude_in=a.m_silu, magnitude_out=a.m_product,
        )  # fmt: skip
        p.linear(
            name + "down", name + "down", Source(a.product, a.m_product, Population.down),
            residual | dict(residual=a.attended, destination=a.x, magnitude=a.m_x),
            q.residual_shift,
        )  # fmt: skip
