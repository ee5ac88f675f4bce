"""What every operation touches: memories, registers, rings and queues.

The compiler's waits follow from these tables, the golden device holds every access against them,
and docs/isa.md prints them. An instruction may touch less than is declared here, never more.

Addresses and extents are expressions (isa/expression.py) of the instruction's fields, the settings
(isa/registers.py), `position`, `token`, and the configuration's sizes P (lanes), G (cores) and V
(vector lanes).
"""

from collections.abc import Mapping

from isa.access import Access, Effect, Mode, Resource
from isa.expression import (
    Expression,
    both,
    ceiling,
    chosen,
    constant,
    equal,
    minimum,
    name,
    negated,
)
from isa.formats import (
    CODE,
    EXP2_PIECES,
    RECIPROCAL_ENTRIES,
    RSQRT_ENTRIES,
    SCHEDULE_STEPS,
    SILU_PIECES,
)
from isa.instructions import Opcode, Operation, Scale

DEFINITIONS: dict[str, str] = {}  # expressions with a name of their own, for the documentation


def _define(text: str, value: Expression) -> Expression:
    DEFINITIONS[text] = str(value)
    return value.named(text)


def _read(resource: Resource, first: Expression | int, *count: Expression, **more) -> Access:
    return Access(Mode.READ, resource, constant(first), *count, **more)


def _write(resource: Resource, first: Expression | int, *count: Expression, **more) -> Access:
    return Access(Mode.WRITE, resource, constant(first), *count, **more)


def _queue(mode: Mode, resource: Resource, count: Expression, **more) -> Access:
    return Access(mode, resource, constant(0), count, **more)


def _registers(words: Expression) -> Expression:
    """Magnitude registers of a vector: one for all of it, or one for each segment."""
    return chosen(name("segment"), ceiling(words, name("segment")), 1)


def _table(resource: Resource, entries: int, **more) -> Access:
    return _read(resource, 0, constant(entries), **more)


P, G, V = name("P"), name("G"), name("V")
_position, _positions = name("position"), name("position") + 1
_count, _stream, _segment = name("count"), name("stream"), name("segment")

# FIRE and POST count elements, which may be as many as there are positions.
_elements = _define("elements", chosen(name("dynamic_count"), _positions, _count))
_words = ceiling(_elements, V)
_sums = _define("sums", chosen(name("dynamic_outputs"), _positions, name("outputs")))
_tiles = _define("tiles", ceiling(_sums, P))
_coded = negated(name("one_hot"))
_resident, _stride = negated(_stream), name("tile_stride")

FIRE = Effect(
    (
        _read(Resource.VECTOR, name("source"), _words, when=_coded),
        _read(Resource.MAGNITUDE, name("magnitude"), when=_coded),
        _read(Resource.SCHEDULE, name("first_step"), SCHEDULE_STEPS - name("first_step"),
              when=_coded),
        _table(Resource.RSQRT, RSQRT_ENTRIES, when=name("norm")),
        _read(Resource.ROW,
              name("row_base") + chosen(name("one_hot"), name("token") // G, 0),
              chosen(name("one_hot"), 1, ceiling(_elements, G)),
              blocks=_tiles, stride=_stride, when=_resident),
        _read(Resource.ROW, name("row_ring_base"), name("row_ring_mask") + 1, when=_stream),
        _queue(Mode.TAKE, Resource.ROW_RING, _tiles * _stride, when=_stream),
        _queue(Mode.GIVE, Resource.TILE, _tiles),
    ),
    ("mean_mantissa", "mean_shift", "epsilon_mantissa", "epsilon_shift", "skip_silent",
     *(f"start_{b}" for b in range(CODE.bits))),
)  # fmt: skip

_own = name("use_parameters")
_entries = _define("entries", _words * chosen(name("use_bias"), 3, 1))
_drained = P - name("lane_offset") * V

POST = Effect(
    (
        _queue(Mode.TAKE, Resource.TILE, ceiling(_elements, _drained),
               lane=name("lane_offset") * V, lanes=minimum(_elements, _drained)),
        _read(Resource.PARAMETER, name("parameters"), _entries, when=both(_own, _resident)),
        _read(Resource.PARAMETER, name("parameter_ring_base"), name("parameter_ring_mask") + 1,
              when=both(_own, _stream)),
        _queue(Mode.TAKE, Resource.PARAMETER_RING, _entries, when=both(_own, _stream)),
        _read(Resource.SCALAR, name("scalar"), when=equal(name("scale"), Scale.SCALAR)),
        _read(Resource.KEY_EXPONENT, name("exponent_address"), _words, when=name("key_exponents")),
        _read(Resource.VECTOR, name("residual"), _words, when=name("use_residual")),
        _write(Resource.VECTOR, name("destination"), _words, when=name("to_vector")),
        _read(Resource.MAGNITUDE, name("magnitude"), _registers(_words),
              when=both(name("to_vector"), name("join_magnitude"))),
        _write(Resource.MAGNITUDE, name("magnitude"), _registers(_words), when=name("to_vector")),
        _write(Resource.MAXIMUM, name("maximum"), when=name("use_maximum")),
        _write(Resource.TOKEN, 0, when=name("argmax")),
        _queue(Mode.GIVE, Resource.LOGITS, _elements, when=name("to_host")),
    )
)  # fmt: skip

# VECTOR counts words; SOFTMAX and GATE take as many elements as there are positions.
_segments = _define("segments", _registers(_count))
_weights = ceiling(_positions, V)
_source = _read(Resource.VECTOR, name("source"), _count)
_result = _write(Resource.VECTOR, name("destination"), _count)
_coding = _read(Resource.MAGNITUDE, name("magnitude_in"), _segments)
_peaks = _write(Resource.MAGNITUDE, name("magnitude_out"), _segments)


def _exponents(resource: Resource) -> Access:
    """A store's exponents: one for each segment, all at the lane of this position."""
    return _write(resource, name("exponent_address") + _position // V, constant(1),
                  blocks=_segments, stride=name("exponent_stride"),
                  lane=_position % V, lanes=constant(1))


def _weighing(*reads: Access) -> Effect:
    """Scores become the weights that mix values."""
    return Effect(
        (
            _read(Resource.VECTOR, name("source"), _weights),
            *reads,
            _read(Resource.VALUE_EXPONENT, name("exponent_address"), _weights),
            _read(Resource.ALIGNMENT, name("alignment")),
            _table(Resource.RECIPROCAL, RECIPROCAL_ENTRIES),
            _write(Resource.VECTOR, name("destination"), _weights),
            _write(Resource.MAGNITUDE, name("magnitude_out")),
            _write(Resource.SCALAR, name("scalar")),
        )
    )


_first_lane = name("operand") * V
_last_lane = _define("last", _first_lane + _count * V - 1)  # counted over rows of P lanes

OPERATIONS: dict[int, Effect] = {
    Operation.ROTATE: Effect((
        _source,
        _read(Resource.ROTATION, _position * name("rotation_stride"),
              chosen(_segment, minimum(_segment, _count), _count)),
        _result,
        _peaks,
    )),
    Operation.STORE_KEY: Effect((
        _source,
        _coding,
        _write(Resource.ROW, name("row_base") + _position // P * name("key_stride"),
               ceiling(_count * V, G), lane=_position % P, lanes=constant(1)),
        _exponents(Resource.KEY_EXPONENT),
    )),
    Operation.STORE_VALUE: Effect((
        _source,
        _coding,
        _write(Resource.ROW, name("row_base") + _position // G, constant(1),
               blocks=_last_lane // P + 1, stride=name("row_stride"),
               lane=chosen(_last_lane // P, 0, _first_lane),
               lanes=chosen(_last_lane // P, P, _count * V)),
        _exponents(Resource.VALUE_EXPONENT),
        _read(Resource.ALIGNMENT, name("alignment"), _segments),
        _write(Resource.ALIGNMENT, name("alignment"), _segments),
    )),
    Operation.SOFTMAX: _weighing(
        _read(Resource.MAXIMUM, name("maximum")), _table(Resource.EXP2, EXP2_PIECES)
    ),
    Operation.SILU: Effect(
        (_source, _table(Resource.SILU, SILU_PIECES), _result, _peaks), ("silu_widen",)
    ),
    Operation.MODULATE: Effect(
        (_source, _read(Resource.VECTOR, name("operand"), _count), _coding, _result, _peaks),
        ("product_shift",),
    ),
    Operation.GATE: _weighing(),
}  # fmt: skip
"""VECTOR's effects by the number of the operation."""

_NOTHING = Effect(())


def effect(fields: Mapping[str, int]) -> Effect:
    """The effect of an instruction, given its unpacked fields.

    Raises:
        KeyError: a VECTOR instruction with an operation that is not in `OPERATIONS`.
    """
    match fields["opcode"]:
        case Opcode.FIRE:
            return FIRE
        case Opcode.POST:
            return POST
        case Opcode.VECTOR:
            return OPERATIONS[fields["operation"]]
        case _:
            return _NOTHING
