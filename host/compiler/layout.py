"""Second pass: where everything of a model lies in a device's memories."""

from dataclasses import dataclass, field

from golden.quantisation.quantise import QuantisedModel
from host.compiler.graph import graph
from host.compiler.shapes import (
    Map,
    Shapes,
    ceil,
    piece_words,
    power_of_two_from,
    power_of_two_to,
    token_words,
)
from isa.configurations import Configuration
from isa.formats import ARRIVED_MAXIMUM, CODE

SCORE_BUFFERS = 8  # most heads whose scores are alive at the same time; fewer where memory ends


@dataclass(frozen=True)
class Piece:
    """Where a map's parts begin in its area of external memory, and whether its last part ends the
    area's piece (isa/external.py)."""

    offset: int
    last: bool


@dataclass(frozen=True)
class Areas:
    """Words of the model's three areas of external memory, headers included (isa/external.py)."""

    embedding: int  # of all tokens
    body: int
    head: int

    @property
    def words(self) -> int:
        return self.embedding + self.body + self.head


class _Allocator:
    """Hands out consecutive words and remembers how many."""

    def __init__(self, used: int = 0) -> None:
        self.used = used

    def take(self, n: int) -> int:
        self.used += n
        return self.used - n


@dataclass
class Layout:
    """Addresses of one model on one configuration. `needs` says what it takes of each size.

    maps: every map's shape (host/compiler/graph.py). rows, parameters: where each map that is
    loaded once lies; a map that is not in them comes through the rings. pieces: where it then lies
    in external memory.
    """

    shapes: Shapes
    context: int
    source: str  # of the weights: "resident", "streamed" or "external"
    maps: dict[str, Map]
    rows: dict[str, int] = field(default_factory=dict)
    parameters: dict[str, int] = field(default_factory=dict)
    pieces: dict[str, Piece] = field(default_factory=dict)
    needs: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls, q: QuantisedModel, c: Configuration, context: int, weights: str, bound: int
    ) -> "Layout":
        """Of q only the shapes matter; `bound`: the largest |accumulator| of its maps."""
        s = Shapes.of(q.config, c)
        self = cls(s, context, weights, graph(q, s))
        self._vectors()
        self._rows()
        self._parameters()
        registers = self.value_magnitude + s.heads + 2 * s.kv_heads + self.buffers
        # A query gathers keys, as many as a head is wide; a probability of each position values.
        gathered = max(context, q.config.head_dim)
        bound = max(bound, gathered * ARRIVED_MAXIMUM * CODE.maximum)
        self.needs |= {
            "rotation_depth": context * s.head_words,
            "exponent_depth": s.layers * s.kv_heads * self.exponent_stride,
            "alignments": s.layers * s.kv_heads,
            "magnitudes": registers,
            "accumulator_bits": bound.bit_length() + 1,
            "context": context,
        }
        if self.external:
            self._external()
        return self

    @property
    def streamed(self) -> bool:
        """Rows and parameters come through the rings, from the host or from external memory."""
        return self.source != "resident"

    @property
    def external(self) -> bool:
        """What comes through the rings lies in external memory."""
        return self.source == "external"

    # ---- vector memory ------------------------------------------------------------------------

    value_magnitude = 8  # first magnitude register of the heads, see _vectors

    def _vectors(self) -> None:
        s, c = self.shapes, self.shapes.c
        a = _Allocator()
        self.x = a.take(s.words(s.dim))
        self.attended = a.take(s.words(s.dim))
        shared = a.used
        self.qkv = a.take(s.words(s.qkv))
        self.rotated = a.take((s.heads + s.kv_heads) * s.head_words)
        self.mixed = a.take(s.heads * s.head_words)
        span = s.words(self.context)
        room = (c.vector_depth - a.used) // span
        self.buffers = max(1, min(SCORE_BUFFERS, s.heads, room, c.maxima, c.scalars))
        self.scores = [a.take(span) for _ in range(self.buffers)]  # probabilities replace them
        gated = _Allocator(shared)  # the gated unit reuses the attention's memory
        hidden = s.words(s.hidden)
        self.gate, self.silu, self.up, self.product = (gated.take(hidden) for _ in range(4))
        self.needs["vector_depth"] = max(a.used, gated.used)
        # Magnitude registers: one each for whole vectors, one for each head. Nobody reads those of
        # `up`, an operand, and of scores, which softmax and gate take as they are.
        (self.m_x, self.m_attended, self.m_mixed, self.m_gate, self.m_silu, self.m_product,
         self.m_up, self.m_scores) = range(self.value_magnitude)  # fmt: skip
        self.m_qkv = self.value_magnitude
        self.m_rotated = self.m_qkv  # rotated heads replace the query and key heads' registers
        self.m_values = self.m_qkv + s.heads + s.kv_heads
        self.m_probabilities = self.m_values + s.kv_heads

    # ---- row memory ---------------------------------------------------------------------------

    def _rows(self) -> None:
        s, c = self.shapes, self.shapes.c
        cache = s.cache_rows(self.context)
        a = _Allocator()
        if self.streamed:
            inputs = max(s.dim, s.heads * s.head, s.hidden)
            tile = ceil(inputs, c.cores)
            # The next tile comes from memory while one gathers; a host is too slow to matter.
            least = power_of_two_from(2 * tile if self.external else tile)
            spare = max(1, c.row_depth - cache)
            self.row_ring = max(least, min(power_of_two_to(spare), power_of_two_from(4 * tile)))
            a.take(self.row_ring)
        self.cache_base = a.take(cache)
        self.value_base = self.cache_base + s.layers * s.key_rows(self.context)
        if not self.streamed:
            self.rows = {name: a.take(s.matrix_rows(m)) for name, m in self.maps.items()}
        self.needs["row_depth"] = a.used

    def key_row(self, layer: int) -> int:
        """First row of a layer's keys."""
        return self.cache_base + layer * self.shapes.key_rows(self.context)

    def value_row(self, layer: int) -> int:
        """First row of a layer's values."""
        group = layer // self.shapes.value_pack
        return self.value_base + group * self.shapes.value_group_rows(self.context)

    def value_lane(self, layer: int) -> int:
        """First lane of a layer's values in their row."""
        return layer % self.shapes.value_pack * self.shapes.kv

    @property
    def value_stride(self) -> int:
        """Rows of P lanes of values."""
        return ceil(self.context, self.shapes.c.cores)

    @property
    def exponent_stride(self) -> int:
        """Words of a head's key or value exponents."""
        return self.shapes.words(self.context)

    def exponent_word(self, layer: int) -> int:
        """First word of a layer's key or value exponents."""
        return layer * self.shapes.kv_heads * self.exponent_stride

    # ---- parameter memory ---------------------------------------------------------------------

    def _parameters(self) -> None:
        s, c = self.shapes, self.shapes.c
        a, resident = _Allocator(), self.maps
        if self.streamed:
            # The embedding's parameters are the same for all tokens, of which one comes.
            resident = {"embedding": self.maps["embedding"]}
            bias = any(m.bias for m in self.maps.values())
            tile = c.lanes // c.vector_lanes * (3 if bias else 1)
            spare = max(1, c.parameter_depth - s.parameter_words(resident["embedding"]))
            least = power_of_two_from(2 * tile if self.external else tile)
            self.parameter_ring = max(
                least, min(power_of_two_to(spare), power_of_two_from(4 * tile))
            )
            a.take(self.parameter_ring)
        self.parameters = {name: a.take(s.parameter_words(m)) for name, m in resident.items()}
        self.needs["parameter_depth"] = a.used

    # ---- external memory ----------------------------------------------------------------------

    def _external(self) -> None:
        s, body, head = self.shapes, _Allocator(), _Allocator()
        following = [*self.maps][1:]
        for name, after in zip(following, [*following[1:], None], strict=True):
            area = head if name == "head" else body
            words = piece_words(self.maps[name], s.c)
            self.pieces[name] = Piece(area.take(words), after in ("head", None))
        self.areas = Areas(s.vocab * token_words(s.dim, s.c), body.used, head.used)
        self.needs["external_words"] = self.areas.words
