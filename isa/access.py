"""How instructions touch memories, registers, rings and queues: the words of isa/effects.py."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from isa.configurations import Configuration
from isa.expression import Expression, Names, constant

EVERY_LANE = 1 << 16  # more lanes than any configuration has


class Resource(StrEnum):
    """What an instruction may touch; the value says what one address of it holds."""

    VECTOR = "vector memory: a word of V elements"
    ROW = "row memory: a row of P weights, keys or values in each core"
    PARAMETER = "parameter memory: a word of V gains and drops, or of half of V biases"
    ROTATION = "rotation memory: a word of V cosines and sines"
    SCHEDULE = "schedule memory: a step"
    EXP2 = "exp2 table: a piece"
    SILU = "SiLU table: a piece"
    RSQRT = "reciprocal square roots: an entry"
    RECIPROCAL = "reciprocals: an entry"
    KEY_EXPONENT = "key exponents: a word of V positions"
    VALUE_EXPONENT = "value exponents: a word of V positions"
    MAGNITUDE = "magnitude registers: one"
    MAXIMUM = "maximum registers: one"
    SCALAR = "scalar registers: a mantissa and an exponent"
    ALIGNMENT = "alignment registers: one"
    TOKEN = "the next token: the argmax"
    TILE = "queue of gathered tiles: P sums with an exponent and a norm"
    ROW_RING = "queue in the row ring: a row for each core"
    PARAMETER_RING = "queue in the parameter ring: a word of V"
    LOGITS = "queue to the host: a logit"


class Mode(StrEnum):
    READ = "reads"
    WRITE = "writes"
    TAKE = "takes"  # out of a queue: in program order, and never before it is there
    GIVE = "gives"  # into a queue: in program order, and never before there is room


@dataclass(frozen=True)
class Access:
    """`count` addresses from `first` on; with `blocks`, as often again, `stride` apart.

    lane, lanes: the only lanes of each that are touched; None: all of them. when: the access is
    made only where this is not 0. A queue has no addresses: `count` is how many go in or out.
    """

    mode: Mode
    resource: Resource
    first: Expression
    count: Expression = constant(1)
    when: Expression = constant(1)
    blocks: Expression = constant(1)
    stride: Expression = constant(0)
    lane: Expression | None = None
    lanes: Expression | None = None

    @property
    def expressions(self) -> tuple[Expression, ...]:
        every = (self.first, self.count, self.when, self.blocks, self.stride, self.lane, self.lanes)
        return tuple(e for e in every if e is not None)


@dataclass(frozen=True)
class Extent:
    """Addresses first..end-1 of a resource and lanes lane..lane_end-1 of each (by default all of
    them). Of a queue `end` is how many go in or out."""

    mode: Mode
    resource: Resource
    first: int
    end: int
    lane: int = 0
    lane_end: int = EVERY_LANE

    def overlaps(self, other: "Extent") -> bool:
        return (self.resource is other.resource
                and self.first < other.end and other.first < self.end
                and self.lane < other.lane_end and other.lane < self.lane_end)

    def covers(self, other: "Extent") -> bool:
        return (self.resource is other.resource
                and self.first <= other.first and other.end <= self.end
                and self.lane <= other.lane and other.lane_end <= self.lane_end)


@dataclass(frozen=True)
class Effect:
    """The accesses of one operation. settings: those that its arithmetic uses; the ones in the
    accesses' addresses are not named again."""

    accesses: tuple[Access, ...]
    settings: tuple[str, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """Fields, settings and sizes that the operation depends on."""
        used = (e.names for access in self.accesses for e in access.expressions)
        return frozenset(self.settings).union(*used)

    def extents(self, names: Names) -> Iterator[Extent]:
        """What is touched; with a range for `position` or `token`, what may be for any of it."""
        for access in self.accesses:
            if not access.when.bounds(names)[0]:
                continue
            low, high = access.first.bounds(names)
            end = high + access.count.bounds(names)[1]
            lane, lane_end = 0, EVERY_LANE
            if access.lane is not None and access.lanes is not None:
                lane, high = access.lane.bounds(names)
                lane_end = high + access.lanes.bounds(names)[1]
            blocks, stride = access.blocks.bounds(names)[1], access.stride.bounds(names)[1]
            if stride == end - low:
                end, blocks = low + blocks * stride, 1
            for n in range(blocks):
                at = n * stride
                yield Extent(access.mode, access.resource, low + at, end + at, lane, lane_end)


def names_of(fields: Mapping[str, int], settings: Mapping[str, int], c: Configuration,
             **where: int | tuple[int, int]) -> dict[str, int | tuple[int, int]]:
    """The names of `Effect.extents`; where: position and token, a number or a range each."""
    return {**settings, **fields, "P": c.lanes, "G": c.cores, "V": c.vector_lanes, **where}
