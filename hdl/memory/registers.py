"""Register files between the units: magnitudes, maxima, scalars."""

from amaranth.hdl import Array, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In

from hdl.lib.bit_groups import grouped, grouped_layout
from hdl.lib.ecp5 import select
from hdl.lib.pipeline import delayed
from hdl.lib.shapes import register_read, scalar_layout, write_port
from hdl.memory.style import style
from isa.configurations import Configuration
from isa.formats import VECTOR


class MagnitudeFile(Component):
    """The magnitude of each vector or head: the OR of its elements' absolute values, whose bit
    length is that of their peak and gives the exponent.

    Two writers, which never write one register at the same time (the program sees to that), and two
    readers in the same cycle; a write is seen in the next one. With post_join the word that the
    post unit writes in the next cycle is ORed into the register instead of replacing it;
    join_address names the register already, and nobody writes it then. Readers get what bit_length
    needs of a magnitude (grouped_layout).
    """

    def __init__(self, c: Configuration) -> None:
        self.depth = c.magnitudes
        shape = unsigned(VECTOR.bits)
        super().__init__(
            {
                "post_write": In(write_port(8, shape)),
                "post_join": In(1),
                "join_address": In(8),
                "vector_write": In(write_port(8, shape)),
                "fire": In(register_read(8, grouped_layout(VECTOR.bits))),
                "vector": In(register_read(8, grouped_layout(VECTOR.bits))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        joined = register_read(8, unsigned(VECTOR.bits)).create()
        m.d.comb += joined.address.eq(self.join_address)
        readers = {"fire": self.fire, "vector": self.vector, "join": joined}
        # A memory of look-up tables has one write port and one read port: there is one for each
        # pair of a writer and a reader, and a bit for each register says who wrote it last. Readers
        # want a magnitude's length, so it is grouped for that before it is written.
        by_vector = Array(Signal(name=f"by_vector_{i}") for i in range(self.depth))
        words = {
            "post": self.post_write.data | delayed(m, Mux(self.post_join, joined.data, 0)),
            "vector": self.vector_write.data,
        }
        groups = {name: grouped(word) for name, word in words.items()}
        writers = {"post": self.post_write, "vector": self.vector_write}
        for name, port in writers.items():
            with m.If(port.enable):
                m.d.sync += by_vector[port.address].eq(name == "vector")
        for reader, read in readers.items():
            found = {}
            for name, port in writers.items():
                data = (words if reader == "join" else groups)[name]
                found[name] = _copy(m, f"{name}_{reader}", self.depth, port, data, read.address)
            recent = select(m, platform, by_vector, read.address)
            m.d.comb += Value.cast(read.data).eq(Mux(recent, found["vector"], found["post"]))
        return m


def _copy(m: Module, name: str, depth: int, write, data: Value, address: Value) -> Value:
    """The word at `address` of a memory of its own, into which the port `write` puts `data`."""
    m.submodules[name] = memory = Memory(
        shape=data.shape(), depth=depth, init=[], attrs=style(depth)
    )
    port, read = memory.write_port(), memory.read_port(domain="comb")
    m.d.comb += [
        port.en.eq(write.enable),
        port.addr.eq(write.address),
        port.data.eq(data),
        read.addr.eq(address),
    ]
    return read.data


class _OneWriter(Component):
    """A register file with one writer and one reader in the same cycle."""

    def __init__(self, depth: int, address_bits: int, shape) -> None:
        self.depth, self.shape = depth, shape
        super().__init__(
            {
                "write": In(write_port(address_bits, shape)),
                "read": In(register_read(address_bits, shape)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        data = Value.cast(self.write.data)
        found = _copy(m, "registers", self.depth, self.write, data, self.read.address)
        m.d.comb += Value.cast(self.read.data).eq(found)
        return m


class MaximumFile(_OneWriter):
    """The largest score of each head whose softmax is under way."""

    def __init__(self, c: Configuration) -> None:
        super().__init__(c.maxima, 4, signed(VECTOR.bits))


class ScalarFile(_OneWriter):
    """1 / sum of each softmax whose values are still to be mixed."""

    def __init__(self, c: Configuration) -> None:
        super().__init__(c.scalars, 6, scalar_layout())
