"""The whole device: units, memories and link wired together; no logic of its own."""

from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hdl.lib.shapes import table_layout
from hdl.link.readback import ReadBack
from hdl.link.receiver import Receiver
from hdl.link.registers import RegisterBlock
from hdl.link.transmitter import Transmitter
from hdl.memory.external_port import address_bits, memory_port
from hdl.memory.external_reader import ExternalReader
from hdl.memory.registers import MagnitudeFile, MaximumFile, ScalarFile
from hdl.memory.ring import Ring
from hdl.memory.row_arbiter import RowArbiter
from hdl.memory.rows import CHUNK_LANES, ROW_ADDRESS_BITS
from hdl.memory.tables import ExponentMemory, parameter_memory
from hdl.memory.vector import VectorMemory
from hdl.units.fire.fire import Fire
from hdl.units.post.post import Post
from hdl.units.sequencer.sequencer import Sequencer
from hdl.units.vector.vector import VectorUnit
from isa.configurations import Configuration
from isa.contents import EMPTY, Contents
from isa.formats import VECTOR
from isa.packets import Space


def _ports(c: Configuration) -> dict:
    """Link streams as plain wires, and what simulation traces."""
    lanes = c.vector_lanes
    ports = {
        "link_in_payload": In(32), "link_in_valid": In(1), "link_in_ready": Out(1),
        "link_out_payload": Out(32), "link_out_valid": Out(1), "link_out_ready": In(1),
        "trace_key_value_valid": Out(1), "trace_key_value_data": Out(8 * lanes),
        "trace_key_value_exponent": Out(8),
    }  # fmt: skip
    for writer in ("post", "vector"):
        ports |= {
            f"trace_{writer}_valid": Out(1),
            f"trace_{writer}_address": Out(16),
            f"trace_{writer}_data": Out(VECTOR.bits * lanes),
        }
    if c.external_words:
        ports["external"] = Out(memory_port(address_bits(c)))
    return ports


class Device(Component):
    """A spiking language-model core of configuration `c`.

    link_in, link_out: streams of 32-bit words (isa/packets.py). trace_*: every vector memory word
    and every word of key/value codes as it is written, for simulation; a board leaves them open.
    contents: what memories and settings hold at power-on; settings also after a reset.
    external: the port to external memory (hdl/memory/external_port.py), where `c` has one.
    """

    def __init__(self, c: Configuration, contents: Contents = EMPTY) -> None:
        self.c, self.contents = c, contents
        super().__init__(_ports(c))

    def elaborate(self, platform):
        c, contents = self.c, self.contents
        m = Module()
        m.submodules.receiver = receiver = Receiver(c)
        m.submodules.transmitter = transmitter = Transmitter(c)
        m.submodules.readback = readback = ReadBack(c)
        m.submodules.registers = registers = RegisterBlock(c, contents)
        m.submodules.sequencer = sequencer = Sequencer(c, contents.of(Space.PROGRAM))
        m.submodules.fire = fire = Fire(c, contents=contents)
        m.submodules.post = post = Post(c)
        m.submodules.vector = vector = VectorUnit(c, contents)
        m.submodules.memory = memory = VectorMemory(c, contents.of(Space.ROTATION))
        m.submodules.parameters = parameters = parameter_memory(c, contents.of(Space.PARAMETER))
        m.submodules.key_exponents = key_exponents = ExponentMemory(c)
        m.submodules.value_exponents = value_exponents = ExponentMemory(c)
        m.submodules.magnitudes = magnitudes = MagnitudeFile(c)
        m.submodules.maxima = maxima = MaximumFile(c)
        m.submodules.scalars = scalars = ScalarFile(c)
        m.submodules.row_ring = row_ring = Ring(ROW_ADDRESS_BITS)
        m.submodules.parameter_ring = parameter_ring = Ring(18)
        m.submodules.row_arbiter = row_arbiter = RowArbiter(c)

        self._link(m, receiver, transmitter)
        # What comes from the link, and with external memory what is played from it, goes the same
        # way into rings, rows and tables.
        entries = receiver
        if c.external_words:
            entries = self._external(m, receiver, transmitter, readback, registers, sequencer)
        # A register between these decisions and everything that they load.
        tables = Signal(table_layout())
        for name in ("enable", "space", "address", "data"):
            m.d.sync += tables[name].eq(getattr(entries.tables, name))
        for user in (registers, sequencer, fire, vector, parameters, memory):
            m.d.comb += [
                user.tables.enable.eq(tables.enable),
                user.tables.space.eq(tables.space),
                user.tables.address.eq(tables.address),
                user.tables.data.eq(tables.data),
            ]
        for user in (sequencer, fire, post, vector):
            m.d.comb += user.settings.eq(registers.settings)
        for user in (fire, post, vector):
            m.d.comb += user.position.eq(sequencer.position)

        # Runs: from the link to the sequencer and back.
        connect(m, receiver.prompt, sequencer.prompt)
        m.d.comb += [
            sequencer.prompt_last.eq(receiver.prompt_last),
            sequencer.start.eq(receiver.start),
            sequencer.reset_position.eq(receiver.reset_position),
            sequencer.generate.eq(receiver.generate),
            sequencer.stop.eq(receiver.stop),
            receiver.running.eq(sequencer.running),
            sequencer.next_token.eq(post.next_token),
            post.send_logits.eq(receiver.send_logits),
            transmitter.token_position.eq(sequencer.token_position),
            transmitter.logits_count.eq(post.logits_count),
            fire.token.eq(sequencer.token),
            vector.rotation_base.eq(sequencer.rotation_base),
            vector.key_row_offset.eq(sequencer.key_row_offset),
        ]
        connect(m, sequencer.token_out, transmitter.token)
        connect(m, sequencer.finished, transmitter.finished)
        connect(m, receiver.fault, transmitter.fault)
        connect(m, receiver.read, transmitter.read)
        connect(m, post.logits, transmitter.logits)
        for name, unit in (("fire", fire), ("post", post), ("vector", vector)):
            connect(m, getattr(sequencer, name), unit.instruction)
            m.d.comb += getattr(sequencer, f"{name}_done").eq(unit.done)

        # Vector memory and register files.
        connect(m, fire.source, memory.fire)
        connect(m, post.residual, memory.post)
        connect(m, vector.memory, memory.vector)
        connect(m, readback.vector, memory.loader)
        connect(m, post.vector_write, memory.post_write)
        connect(m, vector.vector_write, memory.vector_write)
        connect(m, fire.magnitude, magnitudes.fire)
        connect(m, vector.magnitude_in, magnitudes.vector)
        connect(m, post.magnitude_write, magnitudes.post_write)
        connect(m, vector.magnitude_write, magnitudes.vector_write)
        m.d.comb += [
            magnitudes.post_join.eq(post.magnitude_join),
            magnitudes.join_address.eq(post.join_address),
        ]
        connect(m, post.maximum_write, maxima.write)
        connect(m, vector.maximum, maxima.read)
        connect(m, vector.scalar_write, scalars.write)
        connect(m, post.scalar, scalars.read)
        connect(m, post.parameters, parameters.read)
        connect(m, post.exponents, key_exponents.read)
        connect(m, vector.value_exponents, value_exponents.read)
        for written, source in (
            (key_exponents, vector.key_exponent_write),
            (value_exponents, vector.value_exponent_write),
        ):
            m.d.comb += [
                written.enable.eq(source.enable),
                written.address.eq(source.address),
                written.lanes.eq(source.lanes),
                written.exponent.eq(source.data),
            ]

        # Rows: gathered tiles to the post unit, writers, the two rings of streamed weights.
        connect(m, fire.tiles, post.tiles)
        connect(m, vector.row_write, row_arbiter.first)
        connect(m, entries.rows, row_arbiter.second)
        connect(m, row_arbiter.out, fire.row_write)
        m.d.comb += [
            fire.read_word.eq(post.read_word),
            post.sums.eq(fire.sums),
            row_ring.base.eq(registers.settings.row_ring_base),
            row_ring.mask.eq(registers.settings.row_ring_mask),
            row_ring.write_done.eq(entries.row_done),
            row_ring.take.eq(fire.ring_take),
            row_ring.take_amount.eq(fire.ring_take_rows),
            row_ring.free.eq(fire.tiles.valid & fire.tiles.ready),
            row_ring.free_amount.eq(fire.tiles.payload.rows),
            fire.ring_pointer.eq(row_ring.pointer),
            fire.ring_available.eq(row_ring.available),
            receiver.row_address.eq(row_ring.write_address),
            receiver.row_ready.eq(row_ring.write_ready),
            parameter_ring.base.eq(registers.settings.parameter_ring_base),
            parameter_ring.mask.eq(registers.settings.parameter_ring_mask),
            parameter_ring.write_done.eq(entries.parameter_done),
            parameter_ring.take.eq(post.parameter_take),
            parameter_ring.take_amount.eq(post.parameter_take_words),
            parameter_ring.free.eq(post.parameter_take),
            parameter_ring.free_amount.eq(post.parameter_take_words),
            post.parameter_pointer.eq(parameter_ring.pointer),
            post.parameter_available.eq(parameter_ring.available),
            receiver.parameter_address.eq(parameter_ring.write_address),
            receiver.parameter_ready.eq(parameter_ring.write_ready),
        ]

        # Read-back.
        connect(m, transmitter.port, readback.port)
        m.d.sync += [
            memory.loading.eq(transmitter.reading & ~sequencer.running),
            fire.readback_enable.eq(transmitter.reading & (transmitter.read_space == Space.ROW)),
        ]
        m.d.comb += [
            readback.space.eq(transmitter.read_space),
            fire.readback_address.eq(readback.row_address),
            fire.readback_core.eq(readback.row_core),
            fire.readback_word.eq(transmitter.port.address),
            # Fire picks the link word; wherever read-back looks for it in the row, there it is.
            readback.row_data.eq(fire.readback_data.replicate(c.lanes // CHUNK_LANES)),
            registers.address.eq(readback.register_address),
            registers.overwritten.eq(receiver.overwrites),
            readback.register_data.eq(registers.data),
        ]
        self._count(m, registers, sequencer, entries, fire, post, vector)
        self._trace(m, post, vector)
        return m

    def _external(
        self, m: Module, receiver, transmitter, readback, registers, sequencer
    ) -> ExternalReader:
        """Connects external memory between the receiver and what the receiver writes."""
        m.submodules.external_reader = external = ExternalReader(self.c)
        connect(m, external.memory, flipped(self.external))
        connect(m, receiver.external, external.host)
        connect(m, receiver.rows, external.rows_in)
        for name in receiver.tables.signature.members:
            m.d.comb += getattr(external.tables_in, name).eq(getattr(receiver.tables, name))
        m.d.comb += [
            external.settings.eq(registers.settings),
            external.begin.eq(sequencer.token_begun),
            external.token.eq(sequencer.token),
            external.runs_head.eq(sequencer.runs_head),
            external.row_address.eq(receiver.row_address),
            external.row_ready.eq(receiver.row_ready),
            external.row_done_in.eq(receiver.row_done),
            external.parameter_address.eq(receiver.parameter_address),
            external.parameter_ready.eq(receiver.parameter_ready),
            external.parameter_done_in.eq(receiver.parameter_done),
            external.fetch.eq(transmitter.waiting & (transmitter.read_space == Space.EXTERNAL)),
            external.fetch_address.eq(transmitter.port.address),
            transmitter.hold.eq(external.fetch_hold),
            readback.external_data.eq(external.fetch_data),
        ]
        return external

    def _link(self, m: Module, receiver: Receiver, transmitter: Transmitter) -> None:
        m.d.comb += [
            receiver.link.payload.eq(self.link_in_payload),
            receiver.link.valid.eq(self.link_in_valid),
            self.link_in_ready.eq(receiver.link.ready),
            self.link_out_payload.eq(transmitter.link.payload),
            self.link_out_valid.eq(transmitter.link.valid),
            transmitter.link.ready.eq(self.link_out_ready),
        ]

    def _count(self, m, registers, sequencer, entries, fire, post, vector) -> None:
        """What each counter adds in this cycle."""
        counters = fire.counters
        increments = dict(
            cycles=sequencer.running,
            tokens=sequencer.token_done,
            neurons=counters.neurons,
            spikes=counters.spikes,
            events=counters.events,
            synaptic_operations=counters.synaptic_operations,
            gather_cycles=counters.gather_active,
            rows_streamed=entries.row_done,
            saturations=post.saturations + vector.saturations,
            fire_wait_cycles=sequencer.fire_waiting,
            fire_stream_cycles=counters.stream_stall,
            router_stall_cycles=counters.router_stall,
            post_wait_cycles=sequencer.post_waiting | post.wait_stall,
            post_stream_cycles=post.stream_stall,
            vector_wait_cycles=sequencer.vector_waiting,
            link_stall_cycles=post.link_stall,
        )
        if self.c.external_words:
            increments["external_words_read"] = entries.played
            increments["external_full_cycles"] = entries.full
        m.d.comb += [registers.increments[name].eq(value) for name, value in increments.items()]

    def _trace(self, m: Module, post: Post, vector: VectorUnit) -> None:
        written = vector.vector_write
        m.d.comb += [
            self.trace_post_valid.eq(post.vector_write.enable),
            self.trace_post_address.eq(post.vector_write.address),
            self.trace_post_data.eq(post.vector_write.data),
            self.trace_vector_valid.eq(written.valid & written.ready),
            self.trace_vector_address.eq(written.payload.address),
            self.trace_vector_data.eq(written.payload.data),
            self.trace_key_value_valid.eq(vector.key_value_valid),
            self.trace_key_value_data.eq(vector.key_value_codes),
            self.trace_key_value_exponent.eq(vector.key_value_exponent),
        ]
