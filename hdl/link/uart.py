"""UART, 8 data bits, no parity, 1 stop bit: bytes to and from two pins, the line idle high."""

from amaranth.hdl import Cat, Const, Module, Signal, unsigned
from amaranth.lib import stream
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import Component, In, Out

PHASE_BITS = 20
OVERSAMPLING = 8  # the clock must be at least this many times the baud rate


def received_layout() -> StructLayout:
    """A byte off the line; `error`: its stop bit was missing, the byte means nothing."""
    return StructLayout({"data": unsigned(8), "error": unsigned(1)})


def eighths(baud: int) -> int:
    """Samples a second."""
    return baud * OVERSAMPLING


class Ticks(Component):
    """Sets `tick` in `rate` of `clock_hz` cycles, spread evenly.

    The rate is within clock_hz / 2**21 of what was asked for, and a tick is at most a cycle late.
    """

    def __init__(self, clock_hz: int, rate: int) -> None:
        if not 0 < rate <= clock_hz:
            raise ValueError(f"{rate} ticks a second need a clock of as many Hz, not {clock_hz}")
        self.step = round((rate << PHASE_BITS) / clock_hz)
        super().__init__({"tick": Out(1)})

    def elaborate(self, platform):
        m = Module()
        phase = Signal(PHASE_BITS, reset_less=True)  # a tick is its overflow; it may begin anywhere
        m.d.sync += Cat(phase, self.tick).eq(phase + self.step)
        return m


class UartTransmitter(Component):
    """Sends bytes, ten bit times each and no pause between them; `tx` comes from a flip-flop."""

    def __init__(self, clock_hz: int, baud: int) -> None:
        self.clock_hz, self.baud = clock_hz, baud
        super().__init__({"bytes": In(stream.Signature(unsigned(8))), "tx": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.ticks = ticks = Ticks(self.clock_hz, self.baud)
        bits = Signal(10)  # still to send: start bit, data, stop bit; zero behind the stop bit
        sending = Signal()  # bits.any()
        m.d.comb += self.bytes.ready.eq(~sending)
        with m.If(ticks.tick):
            m.d.sync += [
                self.tx.eq(bits[0] | ~sending), bits.eq(bits >> 1), sending.eq(bits[1:].any()),
            ]  # fmt: skip
        with m.If(self.bytes.valid & ~sending):
            m.d.sync += [
                bits.eq(Cat(Const(0, 1), self.bytes.payload, Const(1, 1))), sending.eq(1),
            ]  # fmt: skip
        return m


class UartReceiver(Component):
    """Bytes off the line, as they come: there is no way to hold them up.

    A bit is the majority of three samples around its middle, an eighth of a bit apart. A start bit
    that is gone at its middle was noise. After a missing stop bit it waits for an idle line.
    """

    def __init__(self, clock_hz: int, baud: int) -> None:
        if clock_hz < eighths(baud):
            raise ValueError(f"{baud} baud need a clock of {eighths(baud)} Hz or more, not "
                             f"{clock_hz}")  # fmt: skip
        self.clock_hz, self.baud = clock_hz, baud
        super().__init__(
            {
                "rx": In(1, init=1),
                "bytes": Out(stream.Signature(received_layout(), always_ready=True)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.ticks = ticks = Ticks(self.clock_hz, eighths(self.baud))
        line, data = Signal(init=1), Signal(8, reset_less=True)
        m.submodules.line = FFSynchronizer(self.rx, line, init=1)
        samples = Signal(2, init=0b11)
        # Eighths since the start bit began; which bit it is. An idle line sets both.
        time, place = Signal(3, reset_less=True), Signal(4, reset_less=True)
        a, b, c = line, samples[0], samples[1]
        bit = a & b | a & c | b & c
        m.d.sync += self.bytes.valid.eq(0)
        m.d.comb += self.bytes.payload.data.eq(data)
        with m.If(ticks.tick):
            m.d.sync += [samples.eq(Cat(line, samples)), time.eq(time + 1)]
            with m.FSM():
                with m.State("IDLE"):
                    m.d.sync += [time.eq(1), place.eq(0)]
                    with m.If(~line):
                        m.next = "BITS"
                with m.State("BITS"):
                    with m.If(time == OVERSAMPLING // 2):
                        m.d.sync += place.eq(place + 1)
                        with m.If(place == 0):
                            with m.If(bit):
                                m.next = "IDLE"
                        with m.Elif(place < 9):
                            m.d.sync += data.eq(Cat(data[1:], bit))
                        with m.Else():
                            m.d.sync += [self.bytes.valid.eq(1), self.bytes.payload.error.eq(~bit)]
                            m.next = "BREAK"
                            with m.If(bit):
                                m.next = "IDLE"
                with m.State("BREAK"):
                    with m.If(line):
                        m.next = "IDLE"
        return m
