"""Transmitter: tokens, logits, read-backs, faults and ends of runs become packets to the host."""

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out

from hdl.lib.shapes import POSITION_BITS, TOKEN_BITS, read_port
from hdl.link.receiver import read_request_layout
from hdl.memory.rows import readback_latency
from isa.configurations import Configuration
from isa.formats import VECTOR
from isa.packets import Fault, Kind
from isa.registers import Stop

HEADING = ("first", "second", "third")  # word of the header
STATES = ("idle", "open", *HEADING, "logits", "wait", "data")


def read_latency(c: Configuration) -> int:
    """Cycles from a memory address to its word, the slowest memory's: the rows', behind a register
    for their owner and one for the wires."""
    return readback_latency(c) + 2


class Transmitter(Component):
    """One packet at a time; logits go before the token, the token before the end of the run.

    Reads are slow and rare: each word waits out the slowest memory. `read_space` and
    `read_address` (link word) are stable for `read_latency` cycles before `read_data` is taken, and
    until `hold` is 0.

    A state is a flip-flop, and what comes next is chosen in a cycle of its own: a packet's words
    are many wires.
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
                "waiting": Out(1),  # for the word at port.address
                "hold": In(1),
                "port": Out(read_port(32, unsigned(32))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        at = {name: Signal(name=f"at_{name}", init=name == "idle") for name in STATES}
        # What is no state needs no reset: it is set before it counts.
        flags = Signal(16, reset_less=True)
        value, length = Signal(32, reset_less=True), Signal(32, reset_less=True)
        address, data = Signal(32, reset_less=True), Signal(32, reset_less=True)
        request = self.read.payload

        def go(origin: str, target: str) -> None:
            m.d.sync += [at[origin].eq(0), at[target].eq(1)]

        # What the next packet is, the first of these that is offered: its value and length.
        sources = {
            Kind.DATA: (self.read, request.address, request.length),
            Kind.ERROR: (self.fault, self.fault.payload, None),
            Kind.LOGITS: (self.logits, self.logits_count, self.logits_count),
            Kind.TOKEN: (self.token, self.token.payload, None),
            Kind.DONE: (self.finished, self.finished.payload, None),
        }
        chosen = {kind: Signal(name=f"chosen_{kind.name}", reset_less=True) for kind in sources}
        free = at["idle"] & ~self.read.ready  # a read is taken at the end of its answer
        with m.If(free):
            before = Const(0)
            for kind, (source, _, _) in sources.items():
                m.d.sync += chosen[kind].eq(source.valid & ~before)
                before |= source.valid
            with m.If(before):
                go("idle", "open")

        def of_chosen(column: int):
            rows = ((chosen[kind], row[column]) for kind, row in sources.items())
            return _joined((found, value) for found, value in rows if value is not None)

        words = of_chosen(2)
        none, final, taken = self._count(m, at, words)
        with m.If(at["open"]):
            m.d.sync += [
                flags.eq(Mux(chosen[Kind.TOKEN], self.token_position, 0)),
                value.eq(of_chosen(1)), length.eq(words), address.eq(request.address),
            ]  # fmt: skip
            go("open", "first")
        for kind in (Kind.ERROR, Kind.TOKEN, Kind.DONE):
            m.d.comb += sources[kind][0].ready.eq(at["open"] & chosen[kind])

        m.d.sync += self.read.ready.eq(0)
        with m.If(at["first"] & self.link.ready):
            go("first", "second")
        with m.If(at["second"] & self.link.ready):
            go("second", "third")
        with m.If(at["third"] & self.link.ready):
            logits, answer = chosen[Kind.LOGITS], chosen[Kind.DATA] & ~none
            m.d.sync += [
                at["third"].eq(0), at["logits"].eq(logits), at["wait"].eq(answer),
                at["idle"].eq(~logits & ~answer), self.read.ready.eq(chosen[Kind.DATA] & none),
            ]  # fmt: skip
        with m.If(at["logits"] & taken & final):
            go("logits", "idle")
        latency = read_latency(self.c)
        wait, waited = Signal(range(latency), reset_less=True), Signal(reset_less=True)
        with m.If(at["wait"]):
            # To the last cycle: a counter may move on while its word waits for the link.
            m.d.sync += [data.eq(self.port.data), wait.eq(wait + 1)]
            with m.If(wait == latency - 1):
                m.d.sync += waited.eq(1)
            with m.If(waited & ~self.hold):
                go("wait", "data")
        with m.Else():
            m.d.sync += [wait.eq(0), waited.eq(0)]
        with m.If(at["data"] & self.link.ready):
            m.d.sync += [
                address.eq(address + 1), at["data"].eq(0), at["wait"].eq(~final),
                at["idle"].eq(final), self.read.ready.eq(final),
            ]  # fmt: skip

        kind = _joined((found, Const(k, 8)) for k, found in chosen.items())
        m.d.comb += [
            self.read_space.eq(request.space),
            self.port.address.eq(address),
            self.reading.eq(at["wait"] | at["data"]),
            self.waiting.eq(at["wait"]),
            self.logits.ready.eq(at["logits"] & self.link.ready),
            self.link.valid.eq(
                Cat(at[name] for name in (*HEADING, "data")).any()
                | (at["logits"] & self.logits.valid)
            ),
            self.link.payload.eq(
                _joined((
                    (at["first"], Cat(kind, Const(0, 8), flags)), (at["second"], value),
                    (at["third"], length), (at["logits"], self.logits.payload), (at["data"], data),
                ))
            ),
        ]  # fmt: skip
        return m

    def _count(self, m: Module, at, words) -> tuple[Signal, Signal, Signal]:
        """Counts a payload of `words`: there is none, the next is its last, one is taken.

        The counter itself follows a cycle late.
        """
        left, taken = Signal(32, reset_less=True), Signal()
        none, final, took = (Signal(reset_less=True) for _ in range(3))
        m.d.comb += taken.eq(self.link.ready & (at["data"] | (at["logits"] & self.logits.valid)))
        m.d.sync += took.eq(taken)
        with m.If(at["open"]):
            m.d.sync += left.eq(words)
        with m.Elif(took):
            m.d.sync += left.eq(left - 1)
        with m.If(at["second"]):
            m.d.sync += [none.eq(left == 0), final.eq(left == 1)]
        with m.Elif(taken):
            m.d.sync += final.eq(Mux(took, left == 3, left == 2))
        return none, final, taken


def _joined(choices) -> Value:
    """Of pairs of condition and value: that value whose condition is set, at most one."""
    return reduce(or_, (Mux(condition, value, 0) for condition, value in choices))
