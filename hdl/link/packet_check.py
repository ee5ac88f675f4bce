"""What becomes of a packet: where its header leads, or which fault it is."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib.wiring import Component, In, Out

from hdl.lib.pipeline import delayed
from hdl.lib.shapes import table_layout
from hdl.memory.external_port import address_bits
from hdl.memory.rows import ROW_ADDRESS_BITS
from isa.configurations import Configuration
from isa.packets import Fault, Kind, Space

READABLE = (Space.ROW, Space.VECTOR, Space.REGISTER)
WRITABLE = tuple(s for s in Space if s not in (Space.VECTOR, Space.EXTERNAL))
STREAMED = (Space.ROW, Space.PARAMETER)
LEADS = ("row", "table", "external", "stream_row", "stream_parameter", "drop")
"""Where a payload that is no prompt goes. The first three: of a WRITE; the last: nowhere."""

LATENCY = 2
"""Cycles from kind and space to what is decided of them."""


def entry_bits(c: Configuration) -> int:
    """Bits of a link word's place in a row of all cores."""
    return (c.cores * c.lanes // 4).bit_length() - 1


def reaches(c: Configuration) -> dict[str, int]:
    """Bits of a link word's address in row memory, in the tables, in external memory."""
    found = {
        "row": entry_bits(c) + ROW_ADDRESS_BITS, "table": table_layout()["address"].width
    }  # fmt: skip
    return found | ({"external": address_bits(c)} if c.external_words else {})


class PacketCheck(Component):
    """Decides about a header while it comes, so that it is known when the header is there.

    kind, space: constant from LATENCY cycles before they are asked about. address: the header's
    value; at `decide`, one cycle before it is asked about. running: a run goes on, which is seen
    LATENCY cycles late.

    Exactly one is set of `to_...` (LEADS: there may be a payload), `reads` (a READ that is served),
    `runs` (a RUN that is) and `fails`. RUN_BUSY, UNKNOWN_SPACE or UNKNOWN_KIND is then the `fault`;
    a prompt of a wrong length is for the user to see, `fault` says then PROMPT_TOO_LONG.
    beyond: no address of the memory reaches the first word of a WRITE. overwrites: the WRITE is one
    to anything but registers. is_stream, is_read: the kind of packet, LATENCY - 1 cycles late.
    """

    def __init__(self, c: Configuration) -> None:
        self.c = c
        super().__init__(
            {
                "kind": In(8),
                "space": In(8),
                "address": In(32),
                "decide": In(1),
                "running": In(1),
                **{f"to_{name}": Out(1) for name in LEADS},
                "reads": Out(1),
                "runs": Out(1),
                "fails": Out(1),
                "fault": Out(Fault),
                "beyond": Out(1),
                "overwrites": Out(1),
                "is_stream": Out(1),
                "is_read": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        has_external = bool(self.c.external_words)

        def among(name: str, values, value) -> Signal:
            return delayed(m, Cat(value == v for v in values).any(), name=name)

        def known(name: str, spaces) -> Signal:
            return among(name, (*spaces, Space.EXTERNAL) if has_external else spaces, self.space)

        # The first of two cycles: what kind and space are.
        writes, streams, reads, runs, stops = (
            among(f"is_{k.name}", [k], self.kind)
            for k in (Kind.WRITE, Kind.STREAM, Kind.READ, Kind.RUN, Kind.STOP)
        )
        writable, readable = known("writable", WRITABLE), known("readable", READABLE)
        streamable = among("streamable", STREAMED, self.space)
        row, is_register, external = (
            among(f"is_{s.name}", [s], self.space)
            for s in (Space.ROW, Space.REGISTER, Space.EXTERNAL)
        )
        busy = delayed(m, self.running, name="busy")

        # The second: where that leads.
        written, streamed = writes & writable & ~(external & busy), streams & streamable
        answered = reads & readable & (is_register | ~busy)
        for target, value in (
            (self.to_row, written & row),
            (self.to_table, written & ~row & ~external),
            (self.to_stream_row, streamed & row),
            (self.to_stream_parameter, streamed & ~row),
            (self.to_drop, stops),
            (self.to_external, written & external if has_external else None),
            (self.reads, answered),
            (self.runs, runs & ~busy),
            (self.fails, ~(written | streamed | stops | runs | answered) | runs & busy),
            (self.overwrites, written & ~is_register),
        ):
            if value is not None:
                m.d.comb += target.eq(delayed(m, value, name=f"decided_{target.name}"))
        m.d.comb += [self.is_stream.eq(streams), self.is_read.eq(reads)]

        beyond = Signal(reset_less=True)
        m.d.comb += self.beyond.eq(beyond)
        with m.If(self.decide):
            m.d.sync += beyond.eq(self._unreachable(row, external))
            with m.If(runs):
                m.d.sync += self.fault.eq(Mux(busy, Fault.RUN_BUSY, Fault.PROMPT_TOO_LONG))
            with m.Elif((writes & writable) | (reads & readable)):
                m.d.sync += self.fault.eq(Fault.RUN_BUSY)
            with m.Elif(writes | streams | reads):
                m.d.sync += self.fault.eq(Fault.UNKNOWN_SPACE)
            with m.Else():
                m.d.sync += self.fault.eq(Fault.UNKNOWN_KIND)
        return m

    def _unreachable(self, row, external):
        """Whether the address has bits that no address of its memory has."""
        over = {name: (self.address >> bits).any() for name, bits in reaches(self.c).items()}
        found = Mux(row, over["row"], over["table"])
        return Mux(external, over["external"], found) if "external" in over else found
