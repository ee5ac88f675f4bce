"""Transmit buffer: words wait here until the host has acknowledged them, and are sent again."""

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from hdl.memory.style import style
from isa.frames import (
    DEVICE_RESEND_LIMIT,
    DEVICE_RESEND_SECONDS,
    MAXIMUM_WORDS,
    SEQUENCE_BITS,
)

LINGER_CYCLES = 255  # without a further word: a frame goes out although it is short


class TransmitBuffer(Component):
    """`depth` words (a power of two): the next frame's are those from `sequence` on.

    `length` of them can go now, when `due`; `take` says that a frame of them begins. `address` is
    the number of the word that `data` shows a cycle later.

    `heard` is set for a cycle with the `acknowledge` of a good frame, and `missing` with it when
    the host misses words: the buffer goes back to the first that is not acknowledged. It also does
    when nothing was acknowledged for DEVICE_RESEND_SECONDS, DEVICE_RESEND_LIMIT times in a row.
    """

    def __init__(self, clock_hz: int, depth: int, block: bool) -> None:
        self.clock_hz, self.depth, self.block = clock_hz, depth, block
        super().__init__(
            {
                "words": In(stream.Signature(unsigned(32))),
                "heard": In(1),
                "acknowledge": In(SEQUENCE_BITS),
                "missing": In(1),
                "clear": In(1),
                "sequence": Out(SEQUENCE_BITS),
                "length": Out(range(MAXIMUM_WORDS + 1)),
                "due": Out(1),
                "take": In(1),
                "address": In(SEQUENCE_BITS),
                "data": Out(32),
            }
        )

    def elaborate(self, platform):
        m = Module()
        depth = self.depth
        longest = min(MAXIMUM_WORDS, depth // 2)
        m.submodules.memory = memory = Memory(
            shape=unsigned(32), depth=depth, init=[], attrs=style(depth, self.block)
        )
        write, read = memory.write_port(), memory.read_port()
        # Word numbers: first not acknowledged, next to send, next to come.
        first, following, end = (Signal(SEQUENCE_BITS) for _ in range(3))
        held, waiting, gone = (Signal(range(depth + 1)) for _ in range(3))
        m.d.comb += [
            held.eq(end - first),
            waiting.eq(end - following),
            gone.eq(following - first),
            self.words.ready.eq(held != depth),
            write.addr.eq(end),
            write.data.eq(self.words.payload),
            write.en.eq(self.words.valid & self.words.ready),
            read.addr.eq(self.address),
            self.data.eq(read.data),
            self.sequence.eq(following),
            self.length.eq(Mux(waiting > longest, longest, waiting)),
        ]
        linger = Signal(range(LINGER_CYCLES + 1))
        m.d.sync += linger.eq(Mux(linger == LINGER_CYCLES, linger, linger + 1))
        with m.If(write.en):
            m.d.sync += [end.eq(end + 1), linger.eq(0)]
        m.d.comb += self.due.eq((waiting >= longest) | (waiting != 0) & (linger == LINGER_CYCLES))
        with m.If(self.take):
            m.d.sync += following.eq(following + self.length)

        # Acknowledgements, and going back.
        tries = Signal(range(DEVICE_RESEND_LIMIT + 1))
        patient_cycles = round(self.clock_hz * DEVICE_RESEND_SECONDS)
        patience = Signal(range(patient_cycles))
        news = Signal(SEQUENCE_BITS)
        m.d.comb += news.eq(self.acknowledge - first)
        with m.If((gone == 0) | self.take):
            m.d.sync += patience.eq(0)
        with m.Elif((tries != DEVICE_RESEND_LIMIT) & ~self.heard):
            m.d.sync += patience.eq(patience + 1)
            with m.If(patience == patient_cycles - 1):
                m.d.sync += [
                    patience.eq(0), tries.eq(tries + 1), following.eq(first),
                ]
        with m.If(self.heard):
            m.d.sync += tries.eq(0)
            with m.If(news <= held):
                with m.If(news != 0):
                    m.d.sync += [first.eq(self.acknowledge), patience.eq(0)]
                with m.If(self.missing | (news > gone)):
                    m.d.sync += following.eq(self.acknowledge)
        with m.If(self.clear):
            m.d.sync += [
                first.eq(0), following.eq(0), end.eq(0), tries.eq(0),
                patience.eq(0),
            ]  # fmt: skip
        return m
