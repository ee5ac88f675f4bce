"""Vector unit: executes VECTOR instructions, one word of V elements a cycle."""

from amaranth.hdl import Cat, Module, Signal, signed, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.lib.bit_groups import grouped_layout
from hdl.lib.pipeline import Pipeline
from hdl.lib.shapes import (
    POSITION_BITS,
    codes_layout,
    exponents_layout,
    read_port,
    register_read,
    row_write_layout,
    scalar_layout,
    settings_layout,
    shared_read,
    table_write,
    vector_write_layout,
    word_layout,
    write_port,
)
from hdl.units.vector.head_exponents import EXPONENT_ADDRESS_BITS, exponent_write
from hdl.units.vector.issue import VectorIssue
from hdl.units.vector.key_value_writer import ROW_BITS
from hdl.units.vector.lanes import VectorLanes
from hdl.units.vector.magnitude import MAGNITUDE_ADDRESS_BITS
from hdl.units.vector.operands import OperandFetch
from hdl.units.vector.results import VectorResults
from hdl.units.vector.stages import STAGES
from hdl.units.vector.stores import KeyValueStore
from isa.configurations import Configuration
from isa.contents import EMPTY, Contents
from isa.formats import EXPONENT, VECTOR
from isa.instructions import VECTOR as INSTRUCTION
from isa.instructions import Operation

_WORDS_UNDER_WAY = 16  # the queue has room for all; the pipeline itself holds STAGES["results"]


class VectorUnit(wiring.Component):
    """Executes VECTOR instructions one after another, as golden/units/attention.py has them.

    An instruction is taken when nothing is under way; `done` pulses once for each, in order, when
    a read in the next cycle sees all that it wrote. Without stalls, and if every read is granted
    at once, it comes stages.cycles_to_done after the instruction was taken. The next instruction is
    taken in the cycle of `done`. `position`, `rotation_base` (first rotation word of the position),
    `key_row_offset` (rows from row_base to this position's keys) and `settings` are constant while
    an instruction is under way. A destination may be the source or the operand itself, but must not
    overlap it at another offset, nor may magnitude_in's registers overlap magnitude_out's.
    value_exponents has its data EXPONENT_READ cycles after the address.

    Trace, for simulation: key_value_valid marks each word of codes of a store, in order.
    """

    def __init__(self, c: Configuration, contents: Contents = EMPTY):
        self._c, self._contents = c, contents
        super().__init__(
            {
                "instruction": In(stream.Signature(INSTRUCTION.layout())),
                "done": Out(1),
                "position": In(POSITION_BITS),
                "rotation_base": In(16),
                "key_row_offset": In(ROW_BITS),
                "settings": In(settings_layout()),
                "memory": Out(shared_read(16, word_layout(c))),
                "value_exponents": Out(read_port(EXPONENT_ADDRESS_BITS, exponents_layout(c))),
                "magnitude_in": Out(
                    register_read(MAGNITUDE_ADDRESS_BITS, grouped_layout(VECTOR.bits))
                ),
                "maximum": Out(register_read(4, signed(VECTOR.bits))),
                "vector_write": Out(stream.Signature(vector_write_layout(c))),
                "magnitude_write": Out(write_port(MAGNITUDE_ADDRESS_BITS, unsigned(VECTOR.bits))),
                "scalar_write": Out(write_port(6, scalar_layout())),
                "key_exponent_write": Out(exponent_write(c)),
                "value_exponent_write": Out(exponent_write(c)),
                "row_write": Out(stream.Signature(row_write_layout(c))),
                "tables": In(table_write()),
                "saturations": Out(range(c.vector_lanes + 1)),
                "key_value_valid": Out(1),
                "key_value_codes": Out(codes_layout(c)),
                "key_value_exponent": Out(signed(EXPONENT.bits)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        c = self._c
        m.submodules.issuer = issuer = VectorIssue(c, _WORDS_UNDER_WAY)
        m.submodules.operands = operands = OperandFetch(c)
        m.submodules.lanes = lanes = VectorLanes(c, self._contents)
        m.submodules.results = results = VectorResults(c, _WORDS_UNDER_WAY)
        m.submodules.stores = stores = KeyValueStore(c)
        for inner, outer in (
            (lanes.tables, self.tables),
            (results.vector_write, self.vector_write),
            (results.magnitude_write, self.magnitude_write),
            (stores.row_write, self.row_write),
            (stores.key_write, self.key_exponent_write),
            (stores.value_write, self.value_exponent_write),
        ):
            wiring.connect(m, inner, wiring.flipped(outer))
        wiring.connect(m, wiring.flipped(self.instruction), issuer.instruction)
        wiring.connect(m, results.codes, stores.words)

        pipeline, op = Pipeline(m, STAGES), issuer.operations
        valid = pipeline.carry(issuer.issue, "issued", name="valid", reset=True)
        end = pipeline.carry(issuer.segment_end, "issued", name="end", reset=True)
        last = pipeline.carry(issuer.last, "issued", name="last", reset=True)
        # A cycle after it was taken, for what no word needs before.
        started, instruction = Signal(), Signal.like(self.instruction.payload)
        m.d.sync += [
            started.eq(self.instruction.valid & self.instruction.ready),
            instruction.eq(self.instruction.payload),
        ]
        self._reads(m, issuer, operands, pipeline)
        self._lanes(m, issuer, operands, lanes, stores, pipeline, valid, last)
        self._scalar(m, lanes, started, instruction)
        m.d.comb += [
            self.done.eq(issuer.done),
            issuer.popped.eq(results.popped),
            issuer.scalar_valid.eq(lanes.scalar_valid),
            results.start.eq(started),
            results.destination.eq(instruction.destination),
            results.register.eq(instruction.magnitude_out),
            results.issue.eq(issuer.issue),
            results.segment_end.eq(issuer.segment_end),
            results.store.eq(issuer.store),
            results.saturates.eq(op[Operation.ROTATE] | op[Operation.MODULATE]),
            results.result.eq(lanes.result),
            results.over.eq(lanes.over),
            results.least.eq(lanes.least),
            results.clipped.eq(lanes.clipped),
            self.saturations.eq(results.saturations),
        ]
        length = pipeline.carry(operands.length, "source", name="length")["factors"]
        exponent = pipeline.carry(stores.exponent, "factors", name="exponent")["codes"]
        m.d.comb += [
            stores.start.eq(started),
            stores.instruction.eq(instruction),
            stores.key.eq(op[Operation.STORE_KEY]),
            stores.position.eq(self.position),
            stores.key_row_offset.eq(self.key_row_offset),
            stores.stride.eq(self.settings.exponent_stride),
            stores.head.eq(issuer.store & valid["factors"] & end["factors"]),
            stores.length.eq(length),
            self.key_value_valid.eq(issuer.store & valid["codes"]),
            self.key_value_exponent.eq(exponent),
            self.key_value_codes.eq(lanes.codes),
        ]
        return m

    def _reads(self, m: Module, issuer, operands, pipeline: Pipeline) -> None:
        """Addresses of the memories, and what comes back."""
        m.d.comb += [
            issuer.position.eq(self.position),
            issuer.rotation_base.eq(self.rotation_base),
            issuer.grant.eq(self.memory.grant),
            self.memory.request.eq(issuer.request),
            self.memory.address.eq(issuer.address),
            self.value_exponents.address.eq(issuer.exponent_at),
            self.magnitude_in.address.eq(issuer.magnitude_at),
            self.maximum.address.eq(issuer.maximum_at),
            operands.word.eq(self.memory.data),
            operands.magnitude.eq(self.magnitude_in.data),
            operands.issue.eq(issuer.issue),
            operands.asks.eq(issuer.asks),
            operands.upper.eq(issuer.upper),
            operands.rotates.eq(issuer.operations[Operation.ROTATE]),
        ]

    def _lanes(self, m: Module, issuer, operands, lanes, stores, pipeline, valid, last) -> None:
        """What the lanes take of a word and of its instruction."""
        lane_bits = self._c.vector_lanes.bit_length() - 1
        # In the last word of scores, those up to the position.
        present = Cat(
            ~last["source"] | (self.position[:lane_bits] >= lane)
            for lane in range(self._c.vector_lanes)
        )
        m.d.comb += [
            *(lanes.operations[o].eq(issuer.operations[o]) for o in Operation),
            lanes.weighs.eq(issuer.weighs),
            lanes.store.eq(issuer.store),
            lanes.settings.eq(self.settings),
            lanes.valid.eq(valid["source"]),
            lanes.last.eq(last["source"]),
            lanes.present.eq(present),
            lanes.source.eq(operands.source),
            lanes.operand.eq(operands.operand),
            lanes.rotation.eq(operands.rotation),
            lanes.late_rotation.eq(operands.late_rotation),
            lanes.length.eq(operands.length),
            lanes.below.eq(operands.below),
            lanes.exponents.eq(self.value_exponents.data),
            lanes.maximum.eq(pipeline.carry(self.maximum.data, "issued", name="maximum")["read"]),
            lanes.alignment.eq(stores.alignment),
        ]

    def _scalar(self, m: Module, lanes, started: Signal, instruction) -> None:
        """What softmax and gate leave for the POST that scales by it."""
        address = Signal(6)
        with m.If(started):
            m.d.sync += address.eq(instruction.scalar)
        m.d.comb += [
            self.scalar_write.enable.eq(lanes.scalar_valid),
            self.scalar_write.address.eq(address),
            self.scalar_write.data.eq(lanes.scalar),
        ]
