"""The ports that every link to the host has towards the device behind it."""

from amaranth.hdl import unsigned
from amaranth.lib import stream
from amaranth.lib.wiring import In, Member, Out


def device_side() -> dict[str, Member]:
    """Ports of a link beside its pins.

    words_to_device, words_from_device: link words (isa/packets.py), each once and in order.
    reset_device: resets the device, never the link; set when the host opens a session.
    activity: bit 0, a session is open; bit 1, the host talks. For people.
    """
    return {
        "words_to_device": Out(stream.Signature(unsigned(32))),
        "words_from_device": In(stream.Signature(unsigned(32))),
        "reset_device": Out(1),
        "activity": Out(2),
    }
