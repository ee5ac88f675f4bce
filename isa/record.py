"""Bit records: a format that is declared once, packed by the host and viewed by the hardware."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Field:
    """A bit field. `bits` wide; signed fields are two's complement."""

    name: str
    bits: int
    description: str
    signed: bool = False


@dataclass(frozen=True)
class Record:
    """Fields from the least significant bit up."""

    name: str
    description: str
    fields: tuple[Field, ...]

    @property
    def bits(self) -> int:
        return sum(f.bits for f in self.fields)

    def pack(self, **values: int) -> int:
        """The record as an unsigned integer. Fields not given are 0; one out of range raises."""
        unknown = set(values) - {f.name for f in self.fields}
        if unknown:
            raise ValueError(f"{self.name} has no field {', '.join(sorted(unknown))}")
        word, at = 0, 0
        for field in self.fields:
            value = int(values.get(field.name, 0))
            low = -(1 << (field.bits - 1)) if field.signed else 0
            high = (1 << (field.bits - field.signed)) - 1
            if not low <= value <= high:
                raise ValueError(f"{self.name}.{field.name} = {value} is not in {low}..{high}")
            word |= (value & ((1 << field.bits) - 1)) << at
            at += field.bits
        return word

    def unpack(self, word: int) -> dict[str, int]:
        """The fields of a packed record by name."""
        values, at = {}, 0
        for field in self.fields:
            value = (word >> at) & ((1 << field.bits) - 1)
            if field.signed and value >> (field.bits - 1):
                value -= 1 << field.bits
            values[field.name] = value
            at += field.bits
        return values

    def layout(self):
        """The same record as an amaranth StructLayout."""
        from amaranth.hdl import signed, unsigned
        from amaranth.lib.data import StructLayout

        return StructLayout(
            {f.name: signed(f.bits) if f.signed else unsigned(f.bits) for f in self.fields}
        )
