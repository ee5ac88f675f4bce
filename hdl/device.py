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
from hdl.memory.tables import PARAMETER_ADDRESS_BITS, ExponentMemory, parameter_memory
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
        units = m.submodules
        units.receiver = Receiver(c)
        units.transmitter = Transmitter(c)
        units.readback = ReadBack(c)
        units.registers = RegisterBlock(c, contents)
        units.sequencer = Sequencer(c, contents.of(Space.PROGRAM))
        units.fire = Fire(c, contents=contents)
        units.post = Post(c)
        units.vector = VectorUnit(c, contents)
        units.memory = VectorMemory(c, contents.of(Space.ROTATION))
        units.parameters = parameter_memory(c, contents.of(Space.PARAMETER))
        units.key_exponents = ExponentMemory(c)
        units.value_exponents = ExponentMemory(c)
        units.magnitudes = MagnitudeFile(c)
        units.maxima = MaximumFile(c)
        units.scalars = ScalarFile(c)
        units.row_ring = Ring(ROW_ADDRESS_BITS)
        units.parameter_ring = Ring(PARAMETER_ADDRESS_BITS)
        units.row_arbiter = RowArbiter(c)
        # What comes from the link, and with external memory what is played from it, goes the same
        # way into rings, rows and tables.
        entries = units.receiver
        if c.external_words:
            entries = units.external_reader = ExternalReader(c)
            self._external(m)
        self._link(m)
        self._tables(m, entries)
        self._runs(m)
        self._vectors(m)
        self._registers(m)
        self._exponents(m)
        self._rows(m, entries)
        self._rings(m, entries)
        self._read_back(m)
        self._count(m, entries)
        self._trace(m)
        return m

    def _link(self, m: Module) -> None:
        """Words from and to the host."""
        receiver, transmitter = m.submodules.receiver, m.submodules.transmitter
        m.d.comb += [
            receiver.link.payload.eq(self.link_in_payload),
            receiver.link.valid.eq(self.link_in_valid),
            self.link_in_ready.eq(receiver.link.ready),
            self.link_out_payload.eq(transmitter.link.payload),
            self.link_out_valid.eq(transmitter.link.valid),
            transmitter.link.ready.eq(self.link_out_ready),
        ]
        connect(m, receiver.fault, transmitter.fault)
        connect(m, receiver.read, transmitter.read)

    def _external(self, m: Module) -> None:
        """The reader of external memory, between the receiver and what the receiver writes."""
        units = m.submodules
        external, receiver, sequencer = units.external_reader, units.receiver, units.sequencer
        transmitter = units.transmitter
        connect(m, external.memory, flipped(self.external))
        connect(m, receiver.external, external.host)
        connect(m, receiver.rows, external.rows_in)
        for name in receiver.tables.signature.members:
            m.d.comb += getattr(external.tables_in, name).eq(getattr(receiver.tables, name))
        m.d.comb += [
            external.settings.eq(units.registers.settings),
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
            units.readback.external_data.eq(external.fetch_data),
        ]

    def _tables(self, m: Module, entries) -> None:
        """The loader's broadcast, settings and position, to all units that want them.

        The broadcast goes through a register: what writes a table has a cycle from here on.
        """
        units = m.submodules
        tables = Signal(table_layout())
        for name in ("enable", "space", "address", "data"):
            m.d.sync += tables[name].eq(getattr(entries.tables, name))
        for user in (units.registers, units.sequencer, units.fire, units.vector, units.parameters,
                     units.memory):  # fmt: skip
            m.d.comb += [
                user.tables.enable.eq(tables.enable),
                user.tables.space.eq(tables.space),
                user.tables.address.eq(tables.address),
                user.tables.data.eq(tables.data),
            ]
        for user in (units.sequencer, units.fire, units.post, units.vector):
            m.d.comb += user.settings.eq(units.registers.settings)
        for user in (units.fire, units.post, units.vector):
            m.d.comb += user.position.eq(units.sequencer.position)

    def _runs(self, m: Module) -> None:
        """A run: from the receiver to the sequencer, instructions to the three units, tokens and
        logits to the transmitter."""
        units = m.submodules
        receiver, sequencer, transmitter = units.receiver, units.sequencer, units.transmitter
        fire, post, vector = units.fire, units.post, units.vector
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
        connect(m, post.logits, transmitter.logits)
        for name, unit in (("fire", fire), ("post", post), ("vector", vector)):
            connect(m, getattr(sequencer, name), unit.instruction)
            m.d.comb += getattr(sequencer, f"{name}_done").eq(unit.done)

    def _vectors(self, m: Module) -> None:
        """Vector memory, with its readers and writers; parameters."""
        units = m.submodules
        memory, post = units.memory, units.post
        connect(m, units.fire.source, memory.fire)
        connect(m, post.residual, memory.post)
        connect(m, units.vector.memory, memory.vector)
        connect(m, units.readback.vector, memory.loader)
        connect(m, post.vector_write, memory.post_write)
        connect(m, units.vector.vector_write, memory.vector_write)
        connect(m, post.parameters, units.parameters.read)

    def _registers(self, m: Module) -> None:
        """Magnitudes, maxima and scalars, which one unit leaves for another."""
        units = m.submodules
        magnitudes, post, vector = units.magnitudes, units.post, units.vector
        connect(m, units.fire.magnitude, magnitudes.fire)
        connect(m, vector.magnitude_in, magnitudes.vector)
        connect(m, post.magnitude_write, magnitudes.post_write)
        connect(m, vector.magnitude_write, magnitudes.vector_write)
        m.d.comb += [
            magnitudes.post_join.eq(post.magnitude_join),
            magnitudes.join_address.eq(post.join_address),
        ]
        connect(m, post.maximum_write, units.maxima.write)
        connect(m, vector.maximum, units.maxima.read)
        connect(m, vector.scalar_write, units.scalars.write)
        connect(m, post.scalar, units.scalars.read)

    def _exponents(self, m: Module) -> None:
        """Exponents of the keys and values that the vector unit stores."""
        units = m.submodules
        connect(m, units.post.exponents, units.key_exponents.read)
        connect(m, units.vector.value_exponents, units.value_exponents.read)
        for written, source in (
            (units.key_exponents, units.vector.key_exponent_write),
            (units.value_exponents, units.vector.value_exponent_write),
        ):
            m.d.comb += [
                written.enable.eq(source.enable),
                written.address.eq(source.address),
                written.lanes.eq(source.lanes),
                written.exponent.eq(source.data),
            ]

    def _rows(self, m: Module, entries) -> None:
        """Writers of row memory, and gathered tiles from it to the post unit."""
        units = m.submodules
        fire, post, arbiter = units.fire, units.post, units.row_arbiter
        connect(m, units.vector.row_write, arbiter.first)
        connect(m, entries.rows, arbiter.second)
        connect(m, arbiter.out, fire.row_write)
        connect(m, fire.tiles, post.tiles)
        m.d.comb += [fire.read_word.eq(post.read_word), post.sums.eq(fire.sums)]

    def _rings(self, m: Module, entries) -> None:
        """The two rings of streamed weights: rows are freed as their tile is drained, parameters as
        they are taken."""
        units = m.submodules
        fire, post, receiver, s = units.fire, units.post, units.receiver, units.registers.settings
        rows, parameters = units.row_ring, units.parameter_ring
        m.d.comb += [
            rows.base.eq(s.row_ring_base),
            rows.mask.eq(s.row_ring_mask),
            rows.write_done.eq(entries.row_done),
            rows.take.eq(fire.ring_take),
            rows.take_amount.eq(fire.ring_take_rows),
            rows.free.eq(fire.tiles.valid & fire.tiles.ready),
            rows.free_amount.eq(fire.tiles.payload.rows),
            fire.ring_pointer.eq(rows.pointer),
            fire.ring_available.eq(rows.available),
            receiver.row_address.eq(rows.write_address),
            receiver.row_ready.eq(rows.write_ready),
            parameters.base.eq(s.parameter_ring_base),
            parameters.mask.eq(s.parameter_ring_mask),
            parameters.write_done.eq(entries.parameter_done),
            parameters.take.eq(post.parameter_take),
            parameters.take_amount.eq(post.parameter_take_words),
            parameters.free.eq(post.parameter_take),
            parameters.free_amount.eq(post.parameter_take_words),
            post.parameter_pointer.eq(parameters.pointer),
            post.parameter_available.eq(parameters.available),
            receiver.parameter_address.eq(parameters.write_address),
            receiver.parameter_ready.eq(parameters.write_ready),
        ]

    def _read_back(self, m: Module) -> None:
        """The transmitter's reads, through `readback`, of the memory that it names."""
        units = m.submodules
        transmitter, readback, fire = units.transmitter, units.readback, units.fire
        reading, space = transmitter.reading, transmitter.read_space
        connect(m, transmitter.port, readback.port)
        m.d.sync += [
            units.memory.loading.eq(reading & ~units.sequencer.running),
            fire.readback_enable.eq(reading & (space == Space.ROW)),
        ]
        m.d.comb += [
            readback.space.eq(space),
            fire.readback_address.eq(readback.row_address),
            fire.readback_core.eq(readback.row_core),
            fire.readback_word.eq(transmitter.port.address),
            # Fire picks the link word; wherever read-back looks for it in the row, there it is.
            readback.row_data.eq(fire.readback_data.replicate(self.c.lanes // CHUNK_LANES)),
            units.registers.address.eq(readback.register_address),
            units.registers.overwritten.eq(units.receiver.overwrites),
            readback.register_data.eq(units.registers.data),
        ]

    def _count(self, m: Module, entries) -> None:
        """What each counter adds in this cycle."""
        units = m.submodules
        sequencer, post, vector = units.sequencer, units.post, units.vector
        fire = units.fire.counters
        increments = dict(
            cycles=sequencer.running,
            tokens=sequencer.token_done,
            neurons=fire.neurons,
            spikes=fire.spikes,
            events=fire.events,
            synaptic_operations=fire.synaptic_operations,
            gather_cycles=fire.gather_active,
            rows_streamed=entries.row_done,
            saturations=post.saturations + vector.saturations,
            fire_wait_cycles=sequencer.fire_waiting,
            fire_stream_cycles=fire.stream_stall,
            router_stall_cycles=fire.router_stall,
            post_wait_cycles=sequencer.post_waiting | post.wait_stall,
            post_stream_cycles=post.stream_stall,
            vector_wait_cycles=sequencer.vector_waiting,
            link_stall_cycles=post.link_stall,
        )
        if self.c.external_words:
            increments["external_words_read"] = entries.played
            increments["external_full_cycles"] = entries.full
        registers = units.registers
        m.d.comb += [registers.increments[name].eq(value) for name, value in increments.items()]

    def _trace(self, m: Module) -> None:
        """What the two writers of vector memory write, and codes of keys and values."""
        post, vector = m.submodules.post, m.submodules.vector
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
