"""Sizes of a model on a configuration, and of its maps in rows, words and pieces."""

from dataclasses import dataclass

from golden.checkpoints.config import ModelConfig
from isa.configurations import Configuration
from isa.external import PART_WORDS


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
class Map:
    """The shape of a linear map."""

    outputs: int
    inputs: int
    bias: bool = False


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
    def of(cls, m: ModelConfig, c: Configuration) -> "Shapes":
        head = ceil(m.head_dim, c.vector_lanes) * c.vector_lanes
        head = power_of_two_from(head) if head <= c.lanes else ceil(head, c.lanes) * c.lanes
        return cls(c, m.dim, m.hidden, m.layers, m.heads, m.kv_heads, m.vocab, head)

    @property
    def kv(self) -> int:
        """Elements of all key heads (or value heads) of a layer."""
        return self.kv_heads * self.head

    @property
    def qkv(self) -> int:
        """Elements of all query, key and value heads of a layer."""
        return self.heads * self.head + 2 * self.kv

    def words(self, elements: int) -> int:
        """Vector memory words of so many elements."""
        return ceil(elements, self.c.vector_lanes)

    @property
    def head_words(self) -> int:
        """Vector memory words of a head."""
        return self.head // self.c.vector_lanes

    # ---- maps in row and parameter memory -----------------------------------------------------

    def matrix_rows(self, m: Map) -> int:
        """Rows of a map, tile after tile."""
        return ceil(m.outputs, self.c.lanes) * ceil(m.inputs, self.c.cores)

    def parameter_words(self, m: Map) -> int:
        """Parameter memory words of a map."""
        return self.words(m.outputs) * (3 if m.bias else 1)

    # ---- keys and values in row memory --------------------------------------------------------

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
        """Rows of all keys and values."""
        groups = ceil(self.layers, self.value_pack)
        return self.layers * self.key_rows(context) + groups * self.value_group_rows(context)


# ---- maps in external memory --------------------------------------------------------------------


def tile_outputs(outputs: int, c: Configuration) -> list[int]:
    """Outputs of each tile of a map."""
    return [min(c.lanes, outputs - start) for start in range(0, outputs, c.lanes)]


def piece_words(m: Map, c: Configuration) -> int:
    """Words of a map's parts in external memory, headers included."""
    entry = c.vector_lanes // 2 * (3 if m.bias else 1)
    rows = ceil(m.inputs, c.cores) * c.cores
    return sum(
        2 * PART_WORDS + ceil(n, c.vector_lanes) * entry + rows * ceil(n, 4)
        for n in tile_outputs(m.outputs, c)
    )


def token_words(dim: int, c: Configuration) -> int:
    """Words of a token's piece in external memory, headers included."""
    return sum(PART_WORDS + ceil(n, 4) for n in tile_outputs(dim, c))
