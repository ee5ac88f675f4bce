"""Register files between the units: magnitudes, maxima, scalars."""

from amaranth.hdl import Array, Module, Signal, signed, unsigned
from amaranth.lib.wiring import Component, In

from hdl.lib.shapes import register_read, scalar_layout, write_port
from isa.configurations import Configuration
from isa.formats import VECTOR


class MagnitudeFile(Component):
    """OR of magnitudes of each vector or head. Two writers, which never write one register at the
    same time (the program waits), two readers in the same cycle; a write is seen in the next one.

    With post_join the post unit's word is ORed into the register instead of replacing it.
    """

    def __init__(self, c: Configuration) -> None:
        self.depth = c.magnitudes
        shape = unsigned(VECTOR.bits)
        super().__init__(
            {
                "post_write": In(write_port(8, shape)),
                "post_join": In(1),
                "vector_write": In(write_port(8, shape)),
                "fire": In(register_read(8, shape)),
                "vector": In(register_read(8, shape)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        registers = Array(Signal(VECTOR.bits, name=f"magnitude_{i}") for i in range(self.depth))
        for i, register in enumerate(registers):
            for port, join in ((self.post_write, self.post_join), (self.vector_write, 0)):
                with m.If(port.enable & (port.address == i)):
                    m.d.sync += register.eq(port.data)
                    with m.If(join):
                        m.d.sync += register.eq(port.data | register)
        for port in (self.fire, self.vector):
            m.d.comb += port.data.eq(registers[port.address])
        return m


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
        registers = Array(Signal(self.shape, name=f"register_{i}") for i in range(self.depth))
        for i, register in enumerate(registers):
            with m.If(self.write.enable & (self.write.address == i)):
                m.d.sync += register.eq(self.write.data)
        m.d.comb += self.read.data.eq(registers[self.read.address])
        return m


class MaximumFile(_OneWriter):
    """Largest score of each head under way."""

    def __init__(self, c: Configuration) -> None:
        super().__init__(c.maxima, 4, signed(VECTOR.bits))


class ScalarFile(_OneWriter):
    """1 / sum of each softmax under way."""

    def __init__(self, c: Configuration) -> None:
        super().__init__(c.scalars, 6, scalar_layout())
