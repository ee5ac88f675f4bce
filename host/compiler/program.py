"""The program of one token: instructions in an order that keeps all three units busy."""

from collections.abc import Mapping
from dataclasses import dataclass

from golden.checkpoints.config import Attention
from golden.quantisation.quantise import QuantisedModel, Synapses
from host.compiler.hazards import Cells, Hazards
from host.compiler.layout import Layout, ceil
from isa.instructions import RECORDS, Opcode, Operation, Scale
from isa.schedule import Population

WEIGHTS = {Attention.softmax: Operation.SOFTMAX, Attention.gate: Operation.GATE}


@dataclass(frozen=True)
class Placed:
    """Where a map's rows and parameters lie; rows None: streamed."""

    synapses: Synapses
    row: int | None
    parameter: int | None


class Program:
    """Collects instructions; `labels[pc]` names what each computes, as docs/numerics.md does.

    first_step: where the firing schedule of each population begins in schedule memory.
    """

    def __init__(self, layout: Layout, first_step: Mapping[Population, int]) -> None:
        self.layout, self.c = layout, layout.shapes.c
        self.first_step = first_step
        self.words: list[int] = []
        self.labels: list[str] = []
        self.hazards = Hazards()

    def _emit(self, opcode: Opcode, label: str, **fields: int) -> None:
        self.words.append(RECORDS[opcode].pack(opcode=opcode, **fields))
        self.labels.append(label)

    def control(self, opcode: Opcode) -> None:
        self._emit(opcode, opcode.name.lower())

    def fire(
        self, label: str, population: Population | None, reads: Cells, **fields: int
    ) -> None:
        """population: whose schedule fires; None: a one-hot neuron, which needs none."""
        first = 0 if population is None else self.first_step[population]
        waits = self.hazards.waits("fire", reads, ())
        self._emit(Opcode.FIRE, label, first_step=first, **waits, **fields)

    def post(self, label: str, reads: Cells, writes: Cells, **fields: int) -> None:
        self._emit(Opcode.POST, label, **self.hazards.waits("post", reads, writes), **fields)

    def vector(self, label: str, reads: Cells, writes: Cells, **fields: int) -> None:
        self._emit(Opcode.VECTOR, label, **self.hazards.waits("vector", reads, writes), **fields)

    def words_of(self, elements: int) -> int:
        return ceil(elements, self.c.vector_lanes)

    def linear(
        self, label: str, population: Population | None, placed: Placed,
        source: tuple[int, int] | None, post: dict, *, norm: bool = False, reads: Cells = (),
        writes: Cells = (), segment: int = 0,
    ) -> None:  # fmt: skip
        """FIRE and POST of one map. source: (vector word, magnitude register); None: one-hot."""
        s, streamed = placed.synapses, placed.row is None
        rows = 1 if streamed and source is None else ceil(s.inputs, self.c.cores)
        fire = dict(
            tile_stride=rows, outputs=s.outputs, stream=streamed, row_base=placed.row or 0,
            norm=norm,
        )  # fmt: skip
        if source is None:
            self.fire(label, None, (), one_hot=1, count=1, **fire)
        else:
            word, magnitude = source
            cells = [("vector", word, self.words_of(s.inputs)), ("magnitude", magnitude, 1)]
            fire |= dict(source=word, magnitude=magnitude, count=s.inputs)
            self.fire(label, population, cells, **fire)
        if "destination" in post:
            n = self.words_of(s.outputs)
            registers = ceil(n, segment) if segment else 1
            writes = [
                *writes,
                ("vector", post["destination"], n),
                ("magnitude", post["magnitude"], registers),
            ]
            if post.get("use_residual"):
                reads = [*reads, ("vector", post["residual"], n)]
            post = {"to_vector": 1, "segment": segment, **post}
        self.post(
            label, reads, writes, count=s.outputs, use_parameters=1,
            use_bias=s.bias is not None, parameters=placed.parameter or 0,
            stream=placed.parameter is None, scale=Scale.NORM if norm else Scale.UNITY, **post,
        )  # fmt: skip


def build(
    q: QuantisedModel, layout: Layout, placed: dict[str, Placed],
    first_step: Mapping[Population, int],
) -> Program:  # fmt: skip
    """The whole program: embedding, layers, HEAD, head, END."""
    p = Program(layout, first_step)
    s = layout.shapes
    p.linear(
        "embedding", None, placed["embedding"], None,
        dict(shift=q.embedding_shift(), destination=layout.x, magnitude=layout.m_x),
    )  # fmt: skip
    for n in range(s.layers):
        _attention(p, q, layout, placed, n)
        _gated(p, q, layout, placed, n)
    p.control(Opcode.HEAD)
    p.linear(
        "logits", Population.head, placed["head"], (layout.x, layout.m_x),
        dict(shift=q.norm_shift(q.head), argmax=1, to_host=1), norm=True,
    )  # fmt: skip
    p.control(Opcode.END)
    return p


def _attention(
    p: Program, q: QuantisedModel, a: Layout, placed: dict[str, Placed], n: int
) -> None:
    s, name = a.shapes, f"layers.{n}."
    words = s.head // p.c.vector_lanes
    layer = q.layers[n]
    key_heads, both = s.kv_heads, s.heads + s.kv_heads

    def project(label: str, first: int) -> None:
        """Heads from `first` on, each with a magnitude register of its own."""
        post = dict(
            shift=q.norm_shift(layer.qkv), destination=a.qkv + first * words,
            magnitude=a.m_qkv + first,
        )  # fmt: skip
        source = a.x, a.m_x
        p.linear(label, Population.qkv, placed[label], source, post, norm=True, segment=words)

    def rotate(label: str, first: int, heads: int) -> None:
        source, target, n = a.qkv + first * words, a.rotated + first * words, heads * words
        p.vector(
            label,
            [("vector", source, n)],
            [("vector", target, n), ("magnitude", a.m_rotated + first, heads)],
            operation=Operation.ROTATE, source=source, destination=target, count=n,
            magnitude_out=a.m_rotated + first, segment=words,
        )  # fmt: skip

    project(name + "key_value", s.heads)
    rotate(name + "rotated_key", s.heads, key_heads)
    exponents = a.exponent_word(n)
    keys = a.rotated + s.heads * words
    p.vector(
        name + "key",
        [("vector", keys, key_heads * words), ("magnitude", a.m_rotated + s.heads, key_heads)],
        [("key", n, 1)],
        operation=Operation.STORE_KEY, source=keys, count=key_heads * words, segment=words,
        magnitude_in=a.m_rotated + s.heads, exponent_address=exponents, row_base=a.key_row(n),
    )  # fmt: skip
    values = a.qkv + both * words
    p.vector(
        name + "value",
        [("vector", values, key_heads * words), ("magnitude", a.m_values, key_heads)],
        [("value", n, 1)],
        operation=Operation.STORE_VALUE, source=values, count=key_heads * words, segment=words,
        operand=a.value_lane(n) // p.c.vector_lanes, magnitude_in=a.m_values,
        exponent_address=exponents, row_base=a.value_row(n), row_stride=a.value_stride,
        alignment=n * key_heads,
    )  # fmt: skip
    project(name + "query", 0)
    rotate(name + "rotated_query", 0, s.heads)
    # Scores run ahead of mixes, so that a head's weights hide behind another head's gathers.
    ahead = min(a.buffers, s.heads) - 1
    for h in range(s.heads + ahead):
        if h < s.heads:
            _scores(p, q, a, n, h)
        if h >= ahead:
            _mix(p, q, a, n, h - ahead)
    p.linear(
        name + "attended", Population.out, placed[name + "out"], (a.mixed, a.m_mixed),
        dict(shift=q.residual_shift(layer.out), use_exponent=1, destination=a.attended,
             magnitude=a.m_attended, use_residual=1, residual=a.x),
    )  # fmt: skip


def _scores(p: Program, q: QuantisedModel, a: Layout, n: int, h: int) -> None:
    """Scores of query head h, then the weights that softmax or the gate makes of them."""
    s, name = a.shapes, f"layers.{n}."
    words, b = s.head // p.c.vector_lanes, h % a.buffers
    kv = h * s.kv_heads // s.heads
    span = a.exponent_stride
    source, magnitude = a.rotated + h * words, a.m_rotated + h
    p.fire(
        f"{name}score.{h}",
        Population.attention,
        [("vector", source, words), ("magnitude", magnitude, 1), ("key", n, 1)],
        source=source, magnitude=magnitude, count=s.head, dynamic_outputs=1,
        row_base=a.key_row(n) + kv * s.head // p.c.cores, tile_stride=s.key_stride,
    )  # fmt: skip
    exponents = a.exponent_word(n) + kv * span
    p.post(
        f"{name}score.{h}",
        [("key", n, 1)],
        [("vector", a.scores[b], span), ("maximum", b, 1), ("magnitude", 7, 1)],
        dynamic_count=1, gain=q.score_gain, drop=q.score_drop, shift=q.score_shift,
        use_exponent=1, key_exponents=1, exponent_address=exponents, to_vector=1,
        use_maximum=1, maximum=b, destination=a.scores[b], magnitude=7,
    )  # fmt: skip
    p.vector(
        f"{name}probability.{h}",
        [("vector", a.scores[b], span), ("maximum", b, 1), ("value", n, 1)],
        [("vector", a.scores[b], span), ("magnitude", a.m_probabilities + b, 1),
         ("scalar", b, 1)],
        operation=WEIGHTS[q.config.attention], source=a.scores[b], destination=a.scores[b],
        maximum=b, scalar=b, magnitude_out=a.m_probabilities + b, exponent_address=exponents,
        alignment=n * s.kv_heads + kv,
    )  # fmt: skip


def _mix(p: Program, q: QuantisedModel, a: Layout, n: int, h: int) -> None:
    """Values of positions 0..p mixed by the probabilities of head h."""
    s, c = a.shapes, p.c
    words, b = s.head // c.vector_lanes, h % a.buffers
    kv = h * s.kv_heads // s.heads
    label = f"layers.{n}.mixed.{h}"
    lane = a.value_lane(n) + kv * s.head
    magnitude = a.m_probabilities + b
    p.fire(
        label,
        Population.attention,
        [("vector", a.scores[b], a.exponent_stride), ("magnitude", magnitude, 1),
         ("value", n, 1)],
        source=a.scores[b], magnitude=magnitude, dynamic_count=1, outputs=s.head,
        row_base=a.value_row(n) + lane // c.lanes * a.value_stride, tile_stride=a.value_stride,
    )  # fmt: skip
    # The heads' magnitudes join in one register: the last POST of the layer covers the vector.
    p.post(
        label,
        [("scalar", b, 1)],
        [("vector", a.mixed + h * words, words), ("magnitude", a.m_mixed, 1)],
        count=s.head, lane_offset=lane % c.lanes // c.vector_lanes, gain=128, drop=7,
        scale=Scale.SCALAR, scalar=b, shift=q.mix_shift(), use_exponent=1, to_vector=1,
        destination=a.mixed + h * words, magnitude=a.m_mixed, join_magnitude=h > 0,
    )  # fmt: skip


def _gated(p: Program, q: QuantisedModel, a: Layout, placed: dict[str, Placed], n: int) -> None:
    s, name, layer = a.shapes, f"layers.{n}.", q.layers[n]
    words = p.words_of(s.hidden)
    p.linear(
        name + "gate", Population.gated, placed[name + "gate"], (a.attended, a.m_attended),
        dict(shift=q.norm_shift(layer.gate), destination=a.gate, magnitude=a.m_gate), norm=True,
    )  # fmt: skip
    p.linear(
        name + "up", Population.gated, placed[name + "up"], (a.attended, a.m_attended),
        dict(shift=q.norm_shift(layer.up), destination=a.up, magnitude=6), norm=True,
    )  # fmt: skip
    p.vector(
        name + "silu",
        [("vector", a.gate, words)],
        [("vector", a.silu, words), ("magnitude", a.m_silu, 1)],
        operation=Operation.SILU, source=a.gate, destination=a.silu, count=words,
        magnitude_out=a.m_silu,
    )  # fmt: skip
    p.vector(
        name + "product",
        [("vector", a.silu, words), ("vector", a.up, words), ("magnitude", a.m_silu, 1)],
        [("vector", a.product, words), ("magnitude", a.m_product, 1)],
        operation=Operation.MODULATE, source=a.silu, operand=a.up, destination=a.product,
        count=words, magnitude_in=a.m_silu, magnitude_out=a.m_product,
    )  # fmt: skip
    p.linear(
        name + "down", Population.down, placed[name + "down"], (a.product, a.m_product),
        dict(shift=q.residual_shift(layer.down), use_exponent=1, destination=a.x,
             magnitude=a.m_x, use_residual=1, residual=a.attended),
    )  # fmt: skip
