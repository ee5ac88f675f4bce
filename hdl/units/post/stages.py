"""When what happens to a word in the post unit: the one place that counts its registers."""

from hdl.lib.pipeline import Stages
from isa.configurations import Configuration

STAGES = Stages(
    asked=0,  # its number is on read_word: a tile is valid, its parameters have come
    described=1,  # PostIssue says what it is
    parameters=3,  # gains are here: parameter memory is far
    sums=1,  # its sums are here, from all over
    product=2,  # sum * gain
    gained=3,  # y1: shifted, rounded, saturated
    scaling=2,  # y1 * mantissa
    scaled=3,  # y2: shifted, rounded, saturated
    biased=1,  # y3
    result=1,  # y4; it is written, and the reductions begin
)
"""The stages of a word, counted from the cycle in which it is asked for. A register more is one
number here: whatever meets it goes along."""

EXPONENT_READ = 3
"""Cycles from an address of exponent memory to its data."""

_RESIDUAL_READ = 1  # cycles from a granted address of vector memory to its data

RESIDUAL_DECIDED = ("biased", -2 - _RESIDUAL_READ)
"""When it is decided whether a word has a residual: a cycle before its address is on the port, and
the data waits a cycle in a register. Here the end of the pipeline meets its instruction."""


TILE_TAKEN = 2
"""Cycles after a tile's last word was asked for in which the tile is popped: the next one's first
word is asked for in the cycle behind."""


def reduction_stages(c: Configuration) -> Stages:
    """The stages of a word in PostReduce, counted from its result."""
    levels = (c.vector_lanes - 1).bit_length()
    return Stages(word=0, magnitude=1, largest=levels - 1, maximum=1)
