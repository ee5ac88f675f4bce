"""Transmitter: tokens, logits, read-backs, faults and ends of runs become packets to the host."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out

from hdl.lib.selection import or_mux
from hdl.lib.shapes import POSITION_BITS, TOKEN_BITS, read_port
from hdl.lib.states import OneHot
from hdl.link.payload_count import PayloadCount
from hdl.link.receiver import read_request_layout
from hdl.memory.rows import readback_latency
from isa.configurations import Configuration
from isa.formats import VECTOR
from isa.packets import HEADER_WORDS, Fault, Kind
from isa.registers import Stop

PACKET_CYCLES = HEADER_WORDS + 2  # at least: it is chosen, and its header put together
HEADING = ("first", "second", "third")  # a state for each word of the header


def read_latency(c: Configuration) -> int:
    """Cycles from a memory's address to its word, of the slowest one: row memory, behind a register
    for its owner and one for the wires."""
    return readback_latency(c) + 2


def word_cycles(c: Configuration) -> int:
    """Cycles that a word of a read takes at least: its wait, its sending, and one between."""
    return read_latency(c) + 2


class Transmitter(Component):
    """One packet at a time; logits go before the token, the token before the end of the run.

    Reads are slow and rare: whatever the memory, a word is taken once `read_space` and the address
    (in link words) have been stable for `read_latency` cycles and `hold` is 0. `reading`: from the
    first to the last word of a read; `waiting`: its next word is on its way.

    A packet takes PACKET_CYCLES and one a word of its payload, or `word_cycles` for one of a read.
    """

    def __init__(self, c: Configuration) -> None:
        self.c = c
        super().__init__(
            {
                "link": Out(stream.Signature(unsigned(32))),
                "logits": In(stream.Signature(signed(VECTOR.bits))),
                "logits_count": In(18),
                "token": In(stream.Signature(unsigned(TOKEN_BITS))),
                "token_position": In(POSITION_BITS),
                "finished": In(stream.Signature(Stop)),
                "fault": In(stream.Signature(Fault)),
                "read": In(stream.Signature(read_request_layout())),
                "read_space": Out(8),
                "reading": Out(1),
                "waiting": Out(1),
                "hold": In(1),
                "port": Out(read_port(32, unsigned(32))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        at = OneHot("idle", "open", *HEADING, "logits", "wait", "data", name="at")
        # What the next packet is, the first of these that is offered: its value and length.
        address, request = Signal(32, reset_less=True), self.read.payload
        sources = {
            Kind.DATA: (self.read, request.address, request.length),
            Kind.ERROR: (self.fault, self.fault.payload, None),
            Kind.LOGITS: (self.logits, self.logits_count, self.logits_count),
            Kind.TOKEN: (self.token, self.token.payload, None),
            Kind.DONE: (self.finished, self.finished.payload, None),
        }
        chosen = self._choose(m, at, {kind: source for kind, (source, _, _) in sources.items()})

        def of_chosen(column: int) -> Value:
            rows = ((chosen[kind], row[column]) for kind, row in sources.items())
            return or_mux(*(Mux(found, value, 0) for found, value in rows if value is not None))

        words, taken = of_chosen(2), Signal()
        m.d.comb += taken.eq(self.link.ready & (at.data | (at.logits & self.logits.valid)))
        left = PayloadCount(m, at.open, words, at.second, taken)
        flags = Signal(16, reset_less=True)
        value, length = Signal(32, reset_less=True), Signal(32, reset_less=True)
        with m.If(at.open):
            m.d.sync += [
                flags.eq(Mux(chosen[Kind.TOKEN], self.token_position, 0)),
                value.eq(of_chosen(1)), length.eq(words), address.eq(request.address),
                at.go("open", "first"),
            ]  # fmt: skip
        for kind in (Kind.ERROR, Kind.TOKEN, Kind.DONE):
            m.d.comb += sources[kind][0].ready.eq(at.open & chosen[kind])
        self._header(m, at, left.empty, chosen)
        with m.If(at.logits & taken & left.final):
            m.d.sync += at.go("logits", "idle")
        data = self._answer(m, at, address, left.final)
        kinds = or_mux(*(Mux(found, Const(kind, 8), 0) for kind, found in chosen.items()))
        self._send(m, at, (Cat(kinds, Const(0, 8), flags), value, length), data)
        return m

    def _choose(self, m: Module, at: OneHot, sources: dict) -> dict:
        """The first of the sources that has something to say, once the last packet is gone."""
        chosen = {kind: Signal(name=f"chosen_{kind.name}", reset_less=True) for kind in sources}
        free = at.idle & ~self.read.ready  # a read is taken at the end of its answer
        with m.If(free):
            before = Const(0)
            for kind, source in sources.items():
                m.d.sync += chosen[kind].eq(source.valid & ~before)
                before |= source.valid
            with m.If(before):
                m.d.sync += at.go("idle", "open")
        return chosen

    def _header(self, m: Module, at: OneHot, empty, chosen: dict) -> None:
        """The three words of the header, and what comes behind them."""
        m.d.sync += self.read.ready.eq(0)
        with m.If(at.first & self.link.ready):
            m.d.sync += at.go("first", "second")
        with m.If(at.second & self.link.ready):
            m.d.sync += at.go("second", "third")
        with m.If(at.third & self.link.ready):
            logits, answer = chosen[Kind.LOGITS], chosen[Kind.DATA] & ~empty
            m.d.sync += [
                at.third.eq(0), at.logits.eq(logits), at.wait.eq(answer),
                at.idle.eq(~logits & ~answer), self.read.ready.eq(chosen[Kind.DATA] & empty),
            ]  # fmt: skip

    def _answer(self, m: Module, at: OneHot, address, final) -> Signal:
        """The words of a read, each after a wait; the one that goes out now."""
        data = Signal(32, reset_less=True)
        latency = read_latency(self.c)
        wait, waited = Signal(range(latency), reset_less=True), Signal(reset_less=True)
        with m.If(at.wait):
            # To the last cycle: a counter may move on while its word waits for the link.
            m.d.sync += [data.eq(self.port.data), wait.eq(wait + 1)]
            with m.If(wait == latency - 1):
                m.d.sync += waited.eq(1)
            with m.If(waited & ~self.hold):
                m.d.sync += at.go("wait", "data")
        with m.Else():
            m.d.sync += [wait.eq(0), waited.eq(0)]
        with m.If(at.data & self.link.ready):
            m.d.sync += [
                address.eq(address + 1), at.data.eq(0), at.wait.eq(~final), at.idle.eq(final),
                self.read.ready.eq(final),
            ]  # fmt: skip
        m.d.comb += [
            self.read_space.eq(self.read.payload.space),
            self.port.address.eq(address),
            self.reading.eq(at.wait | at.data),
            self.waiting.eq(at.wait),
        ]
        return data

    def _send(self, m: Module, at: OneHot, heading: tuple, data) -> None:
        """The word of this state."""
        header = [getattr(at, name) for name in HEADING]
        logit = Signal(signed(32))
        m.d.comb += [
            logit.eq(self.logits.payload),
            self.logits.ready.eq(at.logits & self.link.ready),
            self.link.valid.eq(Cat(*header, at.data).any() | (at.logits & self.logits.valid)),
            self.link.payload.eq(
                or_mux(
                    *(Mux(state, word, 0) for word, state in zip(heading, header, strict=True)),
                    Mux(at.logits, logit, 0),
                    Mux(at.data, data, 0),
                )
            ),
        ]
