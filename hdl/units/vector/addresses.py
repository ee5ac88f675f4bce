"""Addresses that the vector unit reads for its words: memory, rotations, exponents, magnitudes."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hdl.units.vector.head_exponents import EXPONENT_ADDRESS_BITS
from hdl.units.vector.magnitude import MAGNITUDE_ADDRESS_BITS
from isa.configurations import Configuration
from isa.instructions import VECTOR as INSTRUCTION


class ReadAddresses(wiring.Component):
    """Where the next word is, and what belongs to it; of an instruction's first word from the cycle
    after `ready` on, in which `offered` may have been taken.

    `address` is that of the word to be granted next: the source's (source_next), or the other
    operand's, which comes first where an instruction reads `two` words for each. A grant is `issue`
    for a source and `asks` for the other one. A rotation's other operand is half a word behind the
    vectors, from rotation_base on, anew in every segment; `upper` names the half.

    Grants come late: they enable registers and choose nothing.
    """

    def __init__(self, c: Configuration):
        self._c = c
        super().__init__(
            {
                "ready": In(1),
                "offered": In(INSTRUCTION.layout()),
                "offered_rotates": In(1),
                "offered_two": In(1),
                "rotation_base": In(16),
                "rotates": In(1),
                "two": In(1),
                "source_next": In(1),
                "granted": In(1),
                "asks": In(1),
                "issue": In(1),
                "segment_end": In(1),
                "address": Out(16),
                "upper": Out(1),
                "exponent_at": Out(EXPONENT_ADDRESS_BITS),
                "magnitude_at": Out(MAGNITUDE_ADDRESS_BITS),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        new, ready = self.offered, self.ready
        source_at, operand_at, rotation_at = Signal(16), Signal(16), Signal(16)
        m.d.comb += self.upper.eq(rotation_at[0])

        def other(at_rotation, at_operand, rotates) -> Value:
            """Address of a rotation word, of which two are in one, or of an operand."""
            return Mux(rotates, self._c.vector_depth + at_rotation[1:], at_operand)

        # It comes out of a register: the memory's readers are far from each other.
        with m.If(ready | self.granted):
            following = other(rotation_at, operand_at, self.rotates)
            m.d.sync += self.address.eq(Mux(self.two, following, source_at + 1))
            with m.If(~self.source_next):
                m.d.sync += self.address.eq(source_at)
            with m.If(ready):
                first = other(self.rotation_base, new.operand, self.offered_rotates)
                m.d.sync += self.address.eq(Mux(self.offered_two, first, new.source))
        with m.If(ready | self.asks):
            m.d.sync += [
                operand_at.eq(operand_at + 1),
                rotation_at.eq(Mux(self.segment_end, self.rotation_base, rotation_at + 1)),
            ]
            with m.If(ready):
                m.d.sync += [operand_at.eq(new.operand), rotation_at.eq(self.rotation_base)]
        with m.If(ready | self.issue):
            m.d.sync += [
                source_at.eq(source_at + 1),
                self.exponent_at.eq(self.exponent_at + 1),
                self.magnitude_at.eq(self.magnitude_at + self.segment_end),
            ]
            with m.If(ready):
                m.d.sync += [
                    source_at.eq(new.source),
                    self.exponent_at.eq(new.exponent_address),
                    self.magnitude_at.eq(new.magnitude_in),
                ]
        return m
