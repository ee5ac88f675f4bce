"""Transmitter: tokens, logits, read-backs, faults and ends of runs become packets to the host."""

from amaranth.hdl import Cat, Const, Module, Signal, signed, unsigned
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out

from hdl.lib.shapes import POSITION_BITS, TOKEN_BITS, read_port
from hdl.link.receiver import read_request_layout
from isa.configurations import Configuration
from isa.formats import VECTOR
from isa.packets import Fault, Kind
from isa.registers import Stop

READ_LATENCY = 6  # cycles from a memory address to its word, the slowest memory's


class Transmitter(Component):
    """One packet at a time; logits go before the token, the token before the end of the run.

    Reads are slow and rare: each word waits out the slowest memory. `read_space` and
    `read_address` (link word) are stable for READ_LATENCY cycles before `read_data` is taken, and
    until `hold` is 0.
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
        kind, flags = Signal(8), Signal(16)
        value, length, left = Signal(32), Signal(32), Signal(32)
        address, wait = Signal(32), Signal(range(READ_LATENCY + 1))
        step, data = Signal(2), Signal(32)
        request = self.read.payload
        m.d.comb += [
            self.read_space.eq(request.space),
            self.port.address.eq(address),
        ]

        def header(which: Kind, number, words=0, extra=0) -> None:
            m.d.sync += [
                kind.eq(which), flags.eq(extra), value.eq(number), length.eq(words),
                left.eq(words), step.eq(0),
            ]  # fmt: skip
            m.next = "HEADER"

        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.read.valid):
                    m.d.sync += address.eq(request.address)
                    header(Kind.DATA, request.address, request.length)
                with m.Elif(self.fault.valid):
                    m.d.comb += self.fault.ready.eq(1)
                    header(Kind.ERROR, self.fault.payload)
                with m.Elif(self.logits.valid):
                    header(Kind.LOGITS, self.logits_count, self.logits_count)
                with m.Elif(self.token.valid):
                    m.d.comb += self.token.ready.eq(1)
                    header(Kind.TOKEN, self.token.payload, 0, self.token_position)
                with m.Elif(self.finished.valid):
                    m.d.comb += self.finished.ready.eq(1)
                    header(Kind.DONE, self.finished.payload)
            with m.State("HEADER"):
                with m.Switch(step):
                    with m.Case(0):
                        m.d.comb += self.link.payload.eq(Cat(kind, Const(0, 8), flags))
                    with m.Case(1):
                        m.d.comb += self.link.payload.eq(value)
                    with m.Default():
                        m.d.comb += self.link.payload.eq(length)
                m.d.comb += self.link.valid.eq(1)
                with m.If(self.link.ready):
                    m.d.sync += step.eq(step + 1)
                    with m.If(step == 2):
                        m.next = "END"
                        with m.If(kind == Kind.LOGITS):
                            m.next = "LOGITS"
                        with m.Elif(kind == Kind.DATA):
                            m.d.sync += wait.eq(0)
                            m.next = "WAIT"
            with m.State("LOGITS"):
                m.d.comb += [
                    self.link.payload.eq(self.logits.payload),
                    self.link.valid.eq(self.logits.valid),
                    self.logits.ready.eq(self.link.ready),
                ]
                with m.If(self.link.valid & self.link.ready):
                    m.d.sync += left.eq(left - 1)
                    with m.If(left == 1):
                        m.next = "END"
            with m.State("WAIT"):
                m.d.comb += [self.reading.eq(1), self.waiting.eq(left != 0)]
                with m.If(wait != READ_LATENCY):
                    m.d.sync += wait.eq(wait + 1)
                with m.If(left == 0):
                    m.next = "END"
                with m.Elif((wait == READ_LATENCY) & ~self.hold):
                    m.d.sync += data.eq(self.port.data)  # a counter may move on while it waits
                    m.next = "DATA"
            with m.State("DATA"):
                m.d.comb += [
                    self.reading.eq(1),
                    self.link.payload.eq(data),
                    self.link.valid.eq(1),
                ]
                with m.If(self.link.ready):
                    m.d.sync += [left.eq(left - 1), address.eq(address + 1), wait.eq(0)]
                    m.next = "WAIT"
            with m.State("END"):
                with m.If(kind == Kind.DATA):
                    m.d.comb += self.read.ready.eq(1)
                m.next = "IDLE"
        return m
