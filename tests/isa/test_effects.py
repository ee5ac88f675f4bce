"""What isa/effects.py declares: names that exist, ranges that hold, and nothing forgotten."""

import random

import pytest

from isa import effects, expression
from isa.access import Effect, Extent, Mode, Resource, names_of
from isa.configurations import configuration
from isa.effects import FIRE, OPERATIONS, POST, effect
from isa.expression import ceiling, chosen, constant, minimum, name
from isa.instructions import RECORDS, Opcode, Operation
from isa.registers import SETTINGS
from tests.seeds import generator, seed

EFFECTS = {(Opcode.FIRE, None): FIRE, (Opcode.POST, None): POST,
           **{(Opcode.VECTOR, o): e for o, e in OPERATIONS.items()}}
CONTEXT = 24


@pytest.mark.parametrize("opcode, operation", EFFECTS, ids=str)
def test_names_are_fields_or_settings(opcode, operation):
    known = {f.name for f in RECORDS[opcode].fields} | {r.name for r in SETTINGS}
    assert EFFECTS[opcode, operation].names <= known | {"P", "G", "V", "position", "token"}


def test_a_name_means_one_thing():
    settings = {r.name for r in SETTINGS}
    for record in RECORDS.values():
        assert not settings & {f.name for f in record.fields}


def test_every_operation_is_declared():
    assert set(OPERATIONS) == set(Operation)
    for opcode in (Opcode.END, Opcode.HEAD):
        assert not effect({"opcode": opcode}).accesses


def random_expression(rng: random.Random, depth: int) -> expression.Expression:
    """Of the names a, b and flag, at random; divisors are constants."""
    if not depth:
        return rng.choice((name("a"), name("b"), constant(rng.randint(0, 9))))
    left, right = (random_expression(rng, depth - 1) for _ in range(2))
    divisor = constant(rng.randint(1, 9))
    return rng.choice((
        left + right, left * right, left // divisor, left % divisor, ceiling(left, divisor),
        minimum(left, right), chosen(name("flag"), left, right), left + 9 - divisor,
    ))  # fmt: skip


def test_a_range_holds_every_value():
    print(f"seed {seed()}")
    rng = generator("expressions")
    narrow = 0
    for _ in range(300):
        e = random_expression(rng, 3)
        a, b, flag = rng.randint(0, 20), rng.randint(0, 20), rng.randint(0, 1)
        span = rng.randint(0, 12)
        low, high = e.bounds({"a": (a, a + span), "b": b, "flag": flag})
        values = []
        for at in range(a, a + span + 1):
            value, same = e.bounds({"a": at, "b": b, "flag": flag})
            # The text says what is computed.
            text = str(e).replace("div", "//").replace("mod", "%")
            assert value == same and low <= value <= high, e
            if "if" not in text:
                names = {"a": at, "b": b, "min": min, "ceil": lambda x: -int(-x // 1)}
                assert eval(text, names) == value, text
            values.append(value)
        narrow += (low, high) == (min(values), max(values))
    assert narrow > 150  # mostly they are exact


@pytest.mark.parametrize("opcode, operation", EFFECTS, ids=str)
def test_all_positions_hold_each_position(opcode, operation):
    """What the compiler looks at covers what the golden device checks, at every position."""
    print(f"seed {seed()}")
    rng = generator(f"extents {opcode} {operation}")
    declared: Effect = EFFECTS[opcode, operation]
    for _ in range(20):
        c = configuration(rng.choice(("tiny", "small", "ulx3s")))
        fields = {f.name: rng.randrange(1 << min(f.bits, 5)) for f in RECORDS[opcode].fields}
        fields |= {"count": rng.randint(1, 40), "lane_offset": 0}
        settings = {r.name: rng.randrange(1 << min(r.bits, 5)) for r in SETTINGS}
        tokens = rng.randint(1, 50)
        every = list(declared.extents(names_of(
            fields, settings, c, position=(0, CONTEXT - 1), token=(0, tokens - 1)
        )))  # fmt: skip
        for position in range(CONTEXT):
            names = names_of(fields, settings, c, position=position, token=rng.randrange(tokens))
            for extent in declared.extents(names):
                addresses = range(extent.first, extent.end)
                for at in addresses if len(addresses) < 100 else (addresses[0], addresses[-1]):
                    one = Extent(extent.mode, extent.resource, at, at + 1, extent.lane,
                                 extent.lane_end)
                    assert any(e.mode is extent.mode and e.covers(one) for e in every), (one, every)


def test_extents_of_a_store():
    """Values that begin in lane 12 of 16: 4 in one row, 16 in the next, 4 in a third."""
    c = configuration("tang_mega")  # G = 1, P = 32, V = 4
    settings = {r.name: 0 for r in SETTINGS} | {"exponent_stride": 2}
    fields = {f.name: 0 for f in RECORDS[Opcode.VECTOR].fields}
    fields |= dict(opcode=Opcode.VECTOR, operation=Operation.STORE_VALUE, count=16, segment=8,
                   operand=7, row_base=100, row_stride=10, exponent_address=6)
    found = [e for e in effect(fields).extents(names_of(fields, settings, c, position=5, token=0))
             if e.mode is Mode.WRITE and e.resource is not Resource.ALIGNMENT]
    assert [(e.resource.name, e.first, e.end, e.lane, e.lane_end) for e in found] == [
        ("ROW", 105, 106, 0, 32), ("ROW", 115, 116, 0, 32), ("ROW", 125, 126, 0, 32),
        ("VALUE_EXPONENT", 7, 8, 1, 2), ("VALUE_EXPONENT", 9, 10, 1, 2),
    ]  # fmt: skip


def test_overlaps():
    rows = Extent(Mode.READ, Resource.ROW, 10, 20, 8, 16)
    assert rows.overlaps(Extent(Mode.WRITE, Resource.ROW, 19, 30))
    assert not rows.overlaps(Extent(Mode.WRITE, Resource.ROW, 20, 30))
    assert not rows.overlaps(Extent(Mode.WRITE, Resource.ROW, 10, 20, 0, 8))
    assert not rows.overlaps(Extent(Mode.WRITE, Resource.VECTOR, 10, 20))
    assert Extent(Mode.READ, Resource.ROW, 0, 20).covers(rows)
    assert not rows.covers(Extent(Mode.READ, Resource.ROW, 10, 20))


def test_definitions_are_explained():
    assert effects.DEFINITIONS["tiles"] == "ceil(sums / P)"
