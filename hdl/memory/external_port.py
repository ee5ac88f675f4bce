"""External memory as the device sees it: a port of bursts, and the words that the host writes."""

from amaranth.hdl import unsigned
from amaranth.lib import stream
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out, Signature

from isa.configurations import Configuration


def address_bits(c: Configuration) -> int:
    """Bits of an external memory word's address, where the configuration has such a memory."""
    return (c.external_words - 1).bit_length()


def burst_layout(bits: int) -> StructLayout:
    """`length` words from `address` on: to be read, or with `write` to be written."""
    return StructLayout({"address": unsigned(bits), "length": unsigned(bits), "write": unsigned(1)})


def memory_port(bits: int) -> Signature:
    """External memory seen from the device, in 32-bit words of `bits` address bits.

    Bursts are executed in order. For a written burst the memory takes `length` words of `write`
    after the request; for a read one it gives `length` words of `read`. A burst has at least one
    word and does not cross the end of memory.
    """
    return Signature(
        {
            "request": Out(stream.Signature(burst_layout(bits))),
            "write": Out(stream.Signature(unsigned(32))),
            "read": In(stream.Signature(unsigned(32))),
        }
    )


def word_write_layout(bits: int) -> StructLayout:
    """One word that the host writes."""
    return StructLayout({"address": unsigned(bits), "data": unsigned(32)})
