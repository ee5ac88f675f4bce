"""Where everything of a model lies in a device's memories, and whether it fits."""

from dataclasses import dataclass, field

from golden.quantisation.quantise import QuantisedModel
from isa.configurations import CONFIGURATIONS, Configuration
from isa.errors import SpikeletError
from isa.external import PART_WORDS
from isa.formats import ARRIVED_MAXIMUM, CODE

SCORE_BUFFERS = 8  # most heads whose scores are alive at the same time; fewer where memory ends
MINIMUM_CONTEXT = 8


def ceil(a: int, b: int) -> int:
    """a / b rounded up."""
    return -(-a // b)


def power_of_two_from(n: int) -> int:
    """The smallest power of two that is not below n."""
    return 1 << max(0, (n - 1).bit_length())


def power_of_two_to(n: int) -> int:
    """The largest power of two that is not above n (n >= 1)."""
    return 1 << (n.bit_length() - 1)


@dataclass(frozen=True)
class Shapes:
    """Sizes of a model on a configuration, heads padded so that they lie well in rows.

    A padded head is a multiple of V elements and divides P or is a multiple of it.
    """

    c: Configuration
    dim: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    vocab: int
    head: int  # padded head size

    @classmethod
    def of(cls, q: QuantisedModel, c: Configuration) -> "Shapes":
        m = q.config
        head = ceil(m.head_dim, c.vector_lanes) * c.vector_lanes
        head = power_of_two_from(head) if head <= c.lanes else ceil(head, c.lanes) * c.lanes
        return cls(c, m.dim, m.hidden, m.layers, m.heads, m.kv_heads, m.vocab, head)

    @property
    def kv(self) -> int:
        """Elements of all key heads (or value heads) of a layer."""
        return self.kv_heads * self.head

    @property
    def qkv(self) -> int:
        return (self.heads + 2 * self.kv_heads) * self.head

    def matrix_rows(self, outputs: int, inputs: int) -> int:
        return ceil(outputs, self.c.lanes) * ceil(inputs, self.c.cores)

    def tile_words(self, outputs: int) -> int:
        """Parameter words of a map without biases."""
        return ceil(outputs, self.c.vector_lanes)

    @property
    def weight_rows(self) -> int:
        """Rows of all resident weights."""
        layer = (
            self.matrix_rows(2 * self.kv, self.dim)
            + self.matrix_rows(self.heads * self.head, self.dim)
            + self.matrix_rows(self.dim, self.heads * self.head)
            + 2 * self.matrix_rows(self.hidden, self.dim)
            + self.matrix_rows(self.dim, self.hidden)
        )
        embedding = self.matrix_rows(self.dim, self.vocab)
        return layer * self.layers + embedding + self.matrix_rows(self.vocab, self.dim)

    @property
    def value_pack(self) -> int:
        """Layers whose values share a row."""
        return max(1, self.c.lanes // self.kv)

    @property
    def key_stride(self) -> int:
        """Rows of a layer's keys for P positions."""
        return self.kv // self.c.cores

    def key_rows(self, context: int) -> int:
        """Rows of a layer's keys."""
        return ceil(context, self.c.lanes) * self.key_stride

    def value_group_rows(self, context: int) -> int:
        """Rows of the values of one group of layers."""
        return ceil(self.kv, self.c.lanes) * ceil(context, self.c.cores)

    def cache_rows(self, context: int) -> int:
        groups = ceil(self.layers, self.value_pack)
        return self.layers * self.key_rows(context) + groups * self.value_group_rows(context)

    def parameter_words(self, q: QuantisedModel) -> int:
        bias = 3 if q.config.qkv_bias else 1
        layer = (
            bias * self.tile_words(self.qkv)
            + 2 * self.tile_words(self.dim)
            + 2 * self.tile_words(self.hidden)
        )
        return layer * self.layers + self.tile_words(self.dim) + self.tile_words(self.vocab)


@dataclass(frozen=True)
class Areas:
    """Words of the model's three areas of external memory, headers included (isa/external.py)."""

    embedding: int  # of all tokens
    body: int
    head: int

    @classmethod
    def of(cls, s: Shapes, bias: bool) -> "Areas":
        c = s.c

        def piece(outputs: int, inputs: int, bias: bool = False) -> int:
            return map_words(outputs, inputs, bias, c)

        layer = (
            piece(2 * s.kv, s.dim, bias) + piece(s.heads * s.head, s.dim, bias)
            + piece(s.dim, s.heads * s.head) + 2 * piece(s.hidden, s.dim)
            + piece(s.dim, s.hidden)
        )  # fmt: skip
        return cls(s.vocab * token_words(s.dim, c), s.layers * layer, piece(s.vocab, s.dim))

    @property
    def words(self) -> int:
        return self.embedding + self.body + self.head


def tile_outputs(outputs: int, c: Configuration) -> list[int]:
    """Outputs of each tile of a map."""
    return [min(c.lanes, outputs - start) for start in range(0, outputs, c.lanes)]


def map_words(outputs: int, inputs: int, bias: bool, c: Configuration) -> int:
    """Words of a map's parts in external memory, headers included."""
    entry = c.vector_lanes // 2 * (3 if bias else 1)
    rows = ceil(inputs, c.cores) * c.cores
    return sum(
        2 * PART_WORDS + ceil(n, c.vector_lanes) * entry + rows * ceil(n, 4)
        for n in tile_outputs(outputs, c)
    )


def token_words(dim: int, c: Configuration) -> int:
    """Words of a token's piece in external memory."""
    return sum(PART_WORDS + ceil(n, 4) for n in tile_outputs(dim, c))


class Allocator:
    """Hands out consecutive words and remembers how many."""

    def __init__(self) -> None:
        self.used = 0

    def take(self, n: int) -> int:
        self.used += n
        return self.used - n


@dataclass
class Layout:
    """Addresses of one model on one configuration. `needs` says what it takes of each size."""

    shapes: Shapes
    context: int
    source: str  # of the weights: "resident", "streamed" or "external"
    needs: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls, q: QuantisedModel, c: Configuration, context: int, weights: str, bound: int
    ) -> "Layout":
        """Of q only the shapes matter; `bound`: the largest |accumulator| of its maps."""
        self = cls(Shapes.of(q, c), context, weights)
        self._vectors()
        self._rows(q)
        self._parameters(q)
        s = self.shapes
        words = s.head // c.vector_lanes
        exponents = s.layers * s.kv_heads * ceil(context, c.vector_lanes)
        registers = self.value_magnitude + s.heads + 2 * s.kv_heads + self.buffers
        # A query gathers keys, as many as a head is wide; a probability of each position values.
        gathered = max(context, q.config.head_dim)
        bound = max(bound, gathered * ARRIVED_MAXIMUM * CODE.maximum)
        self.needs |= {
            "rotation_depth": context * words,
            "exponent_depth": exponents,
            "alignments": s.layers * s.kv_heads,
            "magnitudes": registers,
            "accumulator_bits": bound.bit_length() + 1,
            "context": context,
        }
        if self.external:
            self.areas = Areas.of(s, q.config.qkv_bias)
            self.needs["external_words"] = self.areas.words
        return self

    @property
    def streamed(self) -> bool:
        """Rows and parameters come through the rings, from the host or from external memory."""
        return self.source != "resident"

    @property
    def external(self) -> bool:
        return self.source == "external"

    # ---- vector memory ------------------------------------------------------------------------

    value_magnitude = 8  # first magnitude register of the heads, see _vectors

    def _vectors(self) -> None:
        s, c = self.shapes, self.shapes.c
        v, words = c.vector_lanes, self.shapes.head // c.vector_lanes
        a = Allocator()
        self.x = a.take(ceil(s.dim, v))
        self.attended = a.take(ceil(s.dim, v))
        shared = a.used
        self.qkv = a.take(s.qkv // v)
        self.rotated = a.take((s.heads + s.kv_heads) * words)
        self.mixed = a.take(s.heads * words)
        span = ceil(self.context, v)
        room = (c.vector_depth - a.used) // span
        self.buffers = max(1, min(SCORE_BUFFERS, s.heads, room, c.maxima, c.scalars))
        self.scores = [a.take(span) for _ in range(self.buffers)]  # probabilities replace them
        gated = Allocator()
        gated.used = shared  # the gated unit reuses the attention's memory
        hidden = ceil(s.hidden, v)
        self.gate, self.silu, self.up, self.product = (gated.take(hidden) for _ in range(4))
        self.needs["vector_depth"] = max(a.used, gated.used)
        # Magnitude registers: one each for whole vectors, one for each head.
        self.m_x, self.m_attended, self.m_mixed, self.m_gate, self.m_silu, self.m_product = range(6)
        self.m_qkv = self.value_magnitude
        self.m_rotated = self.m_qkv  # rotated heads replace the query and key heads' registers
        self.m_values = self.m_qkv + s.heads + s.kv_heads
        self.m_probabilities = self.m_values + s.kv_heads

    # ---- row memory ---------------------------------------------------------------------------

    def _rows(self, q: QuantisedModel) -> None:
        s, c = self.shapes, self.shapes.c
        cache = s.cache_rows(self.context)
        a = Allocator()
        if self.streamed:
            inputs = max(s.dim, s.heads * s.head, s.hidden)
            tile = ceil(inputs, c.cores)
            # The next tile comes from memory while one gathers; a host is too slow to matter.
            minimum = power_of_two_from(2 * tile if self.external else tile)
            spare = max(1, c.row_depth - cache)
            self.row_ring = max(minimum, min(power_of_two_to(spare), power_of_two_from(4 * tile)))
            a.take(self.row_ring)
        self.cache_base = a.take(cache)
        s_groups = s.layers * s.key_rows(self.context)
        self.value_base = self.cache_base + s_groups
        self.weights = a  # resident weights follow
        self.needs["row_depth"] = a.used + (0 if self.streamed else s.weight_rows)

    def key_row(self, layer: int) -> int:
        return self.cache_base + layer * self.shapes.key_rows(self.context)

    def value_row(self, layer: int) -> int:
        group = layer // self.shapes.value_pack
        return self.value_base + group * self.shapes.value_group_rows(self.context)

    def value_lane(self, layer: int) -> int:
        """First lane of a layer's values in their row."""
        return layer % self.shapes.value_pack * self.shapes.kv

    @property
    def value_stride(self) -> int:
        return ceil(self.context, self.shapes.c.cores)

    @property
    def exponent_stride(self) -> int:
        return ceil(self.context, self.shapes.c.vector_lanes)

    def exponent_word(self, layer: int) -> int:
        return layer * self.shapes.kv_heads * self.exponent_stride

    # ---- parameter memory ---------------------------------------------------------------------

    def _parameters(self, q: QuantisedModel) -> None:
        s, c = self.shapes, self.shapes.c
        a = Allocator()
        need = s.parameter_words(q)
        if self.streamed:
            tile = c.lanes // c.vector_lanes * (3 if q.config.qkv_bias else 1)
            embedding = s.tile_words(s.dim)
            spare = max(1, c.parameter_depth - embedding)
            minimum = power_of_two_from(2 * tile if self.external else tile)
            self.parameter_ring = max(
                minimum, min(power_of_two_to(spare), power_of_two_from(4 * tile))
            )
            a.take(self.parameter_ring)
            need = a.used + embedding
        self.parameters = a
        self.needs["parameter_depth"] = need


def missing(layout: Layout, program: int = 0) -> list[str]:
    """What the configuration has too little of: 'row_depth 2000 (it has 1536)', ..."""
    c = layout.shapes.c
    needs = layout.needs | {"program_depth": program}
    return [
        f"{name} {need} (it has {getattr(c, name)})"
        for name, need in needs.items()
        if need > getattr(c, name)
    ]


def choose(
    q: QuantisedModel, c: Configuration, weights: str, context: int | None, bound: int = 0
) -> Layout:
    """The layout with the largest context that fits, or the one asked for.

    `bound`: the largest |accumulator| that the model's maps can give, as far as it is known.

    Raises SpikeletError with the sizes that are missing and the configurations that have them.
    """
    wanted = context or min(q.config.context, c.context)
    step = c.vector_lanes
    for positions in [wanted] if context else range(wanted, 0, -step):
        layout = Layout.of(q, c, positions, weights, bound)
        short = missing(layout)
        if not short and (context or positions >= min(MINIMUM_CONTEXT, wanted)):
            return layout
    layout = Layout.of(q, c, context or min(MINIMUM_CONTEXT, wanted), weights, bound)
    raise unfit(q, layout, missing(layout), context, bound)


def unfit(
    q: QuantisedModel, layout: Layout, short: list[str], context: int | None, bound: int
) -> SpikeletError:
    """The error that says which sizes are missing and which configuration has them."""
    c, weights = layout.shapes.c, layout.source
    program = layout.needs.get("program_depth", 0)

    def holds(other: Configuration, weights: str) -> bool:
        least = Layout.of(q, other, context or MINIMUM_CONTEXT, weights, bound)
        return not missing(least, program)

    others = [other for other in CONFIGURATIONS.values() if other is not c]
    elsewhere = [w for w in ("external", "streamed") if w != weights]
    hints = [f"--config {other.name}" for other in others if holds(other, weights)]
    hints += [f"--weights {w}" for w in elsewhere if holds(c, w)]
    if not hints:
        hints = [f"--config {o.name} --weights {w}" for w in elsewhere for o in others
                 if holds(o, w)]
    hint = f"use {' or '.join(hints)}" if hints else "no configuration holds it"
    return SpikeletError(
        f"the model does not fit the configuration '{c.name}': it needs {', '.join(short)}; {hint}"
    )
