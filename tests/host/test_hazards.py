"""Waits that follow from isa/effects.py, where they are less obvious than in a program."""

import pytest

from host.compiler.hazards import Hazards
from isa.configurations import configuration
from isa.instructions import RECORDS, Opcode, Operation, Scale

C = configuration("ulx3s")  # G = 4, P = 64, V = 4
SETTINGS = {"context": 64, "exponent_stride": 16, "key_stride": 4}
HEAD = 4  # words


def fields(opcode: Opcode, **values: int) -> dict[str, int]:
    return RECORDS[opcode].unpack(RECORDS[opcode].pack(opcode=opcode, **values))


def mix(lane: int) -> tuple[dict[str, int], dict[str, int]]:
    """Lanes lane..lane + 15 of rows 0..15, mixed by the vector at word 0 into word 100."""
    return (fields(Opcode.FIRE, dynamic_count=1, outputs=16, tile_stride=16),
            fields(Opcode.POST, count=16, lane_offset=lane // 4, scale=Scale.SCALAR, to_vector=1,
                   destination=100, magnitude=9))


def store_value(lane: int) -> dict[str, int]:
    """The vector at word 200 into lanes lane..lane + 15 of the row of the position."""
    return fields(Opcode.VECTOR, operation=Operation.STORE_VALUE, source=200, count=HEAD,
                  operand=lane // 4, row_stride=16, magnitude_in=20)


@pytest.mark.parametrize("lane, waits", [(0, 1), (16, 0), (48, 0)])
def test_layers_that_share_rows_do_not_wait_for_each_other(lane, waits):
    """A mix reads whole rows, but only what its POST drains counts, before and after a store."""
    hazards = Hazards(C, SETTINGS)
    hazards.gather(*mix(0))
    assert hazards.vector(store_value(lane)) == {"wait_fire": waits, "wait_post": 0}
    fire, post = hazards.gather(*mix(0))
    assert (fire["wait_vector"], post["wait_vector"]) == (waits, 0)
    assert hazards.gather(*mix(lane))[0]["wait_vector"] == 1


def test_the_last_of_several_counts():
    """Writers of parts of what is read; readers of what is written."""
    hazards = Hazards(C, SETTINGS)
    for word in (0, 4, 12):
        hazards.vector(fields(Opcode.VECTOR, operation=Operation.SILU, source=40, count=4,
                              destination=word, magnitude_out=1))
    fire = fields(Opcode.FIRE, source=2, count=20, outputs=8, tile_stride=5, magnitude=30)
    post = fields(Opcode.POST, count=8, to_vector=1, destination=42, magnitude=2)
    waits = hazards.gather(fire, post)
    assert waits == ({"wait_post": 0, "wait_vector": 2}, {"wait_fire": 0, "wait_vector": 3})


def test_keys_of_all_positions():
    """A key goes to another row for every P positions, and to another word of exponents for V."""
    hazards = Hazards(C, {**SETTINGS, "context": 128, "exponent_stride": 32})
    hazards.vector(fields(Opcode.VECTOR, operation=Operation.STORE_KEY, source=200, count=HEAD,
                          segment=HEAD, exponent_address=32, row_base=8))
    score = fields(Opcode.FIRE, count=16, dynamic_outputs=1, tile_stride=4)
    # Rows 8..15 are the keys', for 128 positions; exponents are words 32..63.
    for row, word, expected in ((8, 32, (1, 1)), (0, 0, (0, 0)), (16, 64, (0, 0))):
        post = fields(Opcode.POST, dynamic_count=1, key_exponents=1, exponent_address=word)
        fire, drained = hazards.gather({**score, "row_base": row}, post)
        assert (fire["wait_vector"], drained["wait_vector"]) == expected
