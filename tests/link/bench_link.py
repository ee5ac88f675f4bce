"""The link's units wired together with the sequencer and two memories, as in the device."""

from amaranth.hdl import Module, unsigned
from amaranth.lib import stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hdl.lib.shapes import word_layout
from hdl.link.readback import ReadBack
from hdl.link.receiver import Receiver
from hdl.link.registers import RegisterBlock
from hdl.link.transmitter import Transmitter
from hdl.memory.rows import CHUNK_LANES, RowMemory
from hdl.units.sequencer.sequencer import Sequencer
from isa.configurations import Configuration
from isa.packets import Space


def vector_contents(c: Configuration) -> list[int]:
    """What vector memory holds: positive and negative elements."""
    return [(i * 7919 % 4093 - 2046) << 12 - i % 13 for i in range(c.vector_depth * c.vector_lanes)]


class LinkHarness(Component):
    """Receiver, transmitter, register block, read-back, row and vector memory, sequencer.

    Streamed rows all go to the last row of row memory.
    """

    def __init__(self, c: Configuration) -> None:
        self.c = c
        word = stream.Signature(unsigned(32))
        super().__init__({"i": In(word), "o": Out(word), "next_token": In(18)})

    def elaborate(self, platform):
        m, c = Module(), self.c
        m.submodules.receiver = receiver = Receiver(c)
        m.submodules.transmitter = transmitter = Transmitter(c)
        m.submodules.readback = readback = ReadBack(c)
        m.submodules.registers = registers = RegisterBlock(c)
        m.submodules.rows = rows = RowMemory(c)
        m.submodules.sequencer = sequencer = Sequencer(c)
        elements, v = vector_contents(c), c.vector_lanes
        words = [elements[i : i + v] for i in range(0, len(elements), v)]
        m.submodules.vector = vector = Memory(
            shape=word_layout(c), depth=c.vector_depth, init=words
        )
        read = vector.read_port()
        connect(m, flipped(self.i), receiver.link)
        connect(m, transmitter.link, flipped(self.o))
        connect(m, receiver.rows, rows.row_write)
        connect(m, receiver.prompt, sequencer.prompt)
        connect(m, receiver.fault, transmitter.fault)
        connect(m, receiver.read, transmitter.read)
        connect(m, sequencer.token_out, transmitter.token)
        connect(m, sequencer.finished, transmitter.finished)
        connect(m, transmitter.port, readback.port)
        for user in (registers.tables, sequencer.tables):
            for name in user.signature.members:
                m.d.comb += getattr(user, name).eq(getattr(receiver.tables, name))
        reading_rows = transmitter.reading & (transmitter.read_space == Space.ROW)
        m.d.comb += [
            receiver.row_address.eq(c.row_depth - 1),
            receiver.row_ready.eq(1),
            receiver.parameter_ready.eq(1),
            receiver.running.eq(sequencer.running),
            sequencer.settings.eq(registers.settings),
            sequencer.next_token.eq(self.next_token),
            transmitter.token_position.eq(sequencer.token_position),
            registers.increments.tokens.eq(sequencer.token_done),
            registers.increments.rows_streamed.eq(receiver.row_done),
            readback.space.eq(transmitter.read_space),
            rows.readback_enable.eq(reading_rows),
            rows.readback_address.eq(readback.row_address),
            rows.readback_core.eq(readback.row_core),
            rows.readback_word.eq(transmitter.port.address),
            readback.row_data.eq(rows.readback_data.replicate(c.lanes // CHUNK_LANES)),
            read.addr.eq(readback.vector.address),
            readback.vector.data.eq(read.data),
            registers.address.eq(readback.register_address),
            readback.register_data.eq(registers.data),
        ]
        for name in ("prompt_last", "start", "reset_position", "generate", "stop"):
            source = getattr(receiver, name)
            m.d.comb += getattr(sequencer, name).eq(source)
        return m
