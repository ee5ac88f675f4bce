"""What passes between the units of FIRE: groups of codes, and the spikes that they become."""

from amaranth.hdl import signed, unsigned
from amaranth.lib.data import ArrayLayout, StructLayout

from hdl.memory.rows import ROW_ADDRESS_BITS
from isa.configurations import Configuration
from isa.formats import CODE, EXPONENT, SCHEDULE_STEPS

STEP_BITS = (SCHEDULE_STEPS - 1).bit_length()
"""Bits of an address of schedule memory."""


def place_layout(c: Configuration) -> StructLayout:
    """What a group of N neurons needs besides its codes and hands on to its spikes."""
    return StructLayout(
        {
            "row": unsigned(ROW_ADDRESS_BITS),  # of the group's first G neurons
            "ring": unsigned(1),  # row is an offset in the row ring
            "end": unsigned(1),  # the tile's last group
            "first_tile": unsigned(1),
            "width": unsigned(c.lanes.bit_length()),  # sums wanted of this tile, 1..P
        }
    )


def group_layout(c: Configuration) -> StructLayout:
    """N codes that fire together."""
    return StructLayout(
        {
            "codes": ArrayLayout(signed(CODE.bits), c.neuron_lanes),
            "start": unsigned(STEP_BITS),  # entry of the schedule memory to begin with
            "silent": unsigned(1),  # all codes are 0 and such groups are skipped
            "direct": unsigned(1),  # codes are 0 or 1 and fire at once, whatever the schedule
            "squares": unsigned(1),  # this tile's codes are summed up squared
            "exponent": signed(EXPONENT.bits),  # of the codes; goes to `squares`
            "place": place_layout(c),
        }
    )


def step_layout(c: Configuration) -> StructLayout:
    """The spikes of one step of a group, and whether its tile ends with them."""
    return StructLayout(
        {
            "fired": unsigned(c.neuron_lanes),
            "negative": unsigned(c.neuron_lanes),
            "amplitude": unsigned(3),
            "place": place_layout(c),  # end: no more spikes of this tile
        }
    )
