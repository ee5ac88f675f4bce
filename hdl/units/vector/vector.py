"""Vector unit: executes VECTOR instructions, one word of V elements a cycle."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hdl.lib.arithmetic import clip
from hdl.lib.bit_groups import bit_length, grouped_layout
from hdl.lib.pipeline import delayed
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
from hdl.units.vector.functions import Silu
from hdl.units.vector.head_exponents import EXPONENT_ADDRESS_BITS, HeadExponents, exponent_write
from hdl.units.vector.issue import VectorIssue
from hdl.units.vector.key_value_writer import ROW_BITS, RowWriter
from hdl.units.vector.magnitude import MAGNITUDE_ADDRESS_BITS, MagnitudeWriter
from hdl.units.vector.modulator import LENGTH_BITS, Modulator, below
from hdl.units.vector.radix4 import Products
from hdl.units.vector.rotate import Rotator
from hdl.units.vector.scaler import VALUE_BITS, Scaler
from hdl.units.vector.softmax import Softmax
from hdl.units.vector.word_queue import WordQueue
from isa.configurations import Configuration
from isa.contents import EMPTY, Contents
from isa.formats import CODE, EXPONENT, TRIGONOMETRIC, VECTOR
from isa.instructions import VECTOR as INSTRUCTION
from isa.instructions import Operation

_QUEUE_DEPTH = 16  # words under way; the pipeline itself holds 8
# Cycles after a word's address is on the ports.
_REGISTERED = 2  # source, operand and the rest are in registers
_LENGTH = 3  # a word's exponent
_FACTORS = 3  # factors of the products (a rotation's first ones a cycle before)
_CODED = 4
_PRODUCTS = 6
_SLOWEST = 9  # every result but codes is in registers by now: the queue takes it
_STORED = _CODED + 1


class VectorUnit(wiring.Component):
    """Executes VECTOR instructions one after another, as golden/units/attention.py has them.

    An instruction is taken when nothing is under way; `done` pulses once for each, in order, when
    a read in the next cycle sees all that it wrote. Without stalls, and if every read is granted
    at once, `done` comes so many cycles after the instruction was taken: rotate and modulate, which
    read two words for each, 2 * count + 10; SiLU count + 10; store value count + 6, store key
    count * V / G + 6; softmax and gate words + 12. The next instruction is taken in the cycle of
    `done`. `position`, `rotation_base`
    (first rotation word of the position), `key_row_offset` (rows from row_base to this position's
    keys) and `settings` are constant while an instruction is under way. A destination may be the
    source or the operand itself, but must not overlap it at another offset, nor may magnitude_in's
    registers overlap magnitude_out's.

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
        V = c.vector_lanes
        lane_bits = V.bit_length() - 1
        new = self.instruction.payload

        m.submodules.issuer = issuer = VectorIssue(c, _QUEUE_DEPTH)
        m.submodules.products = products = Products(V)
        m.submodules.rotator = rotator = Rotator(V)
        m.submodules.modulator = modulator = Modulator(V)
        m.submodules.scaler = scaler = Scaler(V)
        m.submodules.silu = silu = Silu(V, self._contents, c.spare_blocks)
        m.submodules.softmax = softmax = Softmax(V, self._contents, c.spare_blocks)
        m.submodules.queue = queue = WordQueue(V * VECTOR.bits, _QUEUE_DEPTH)
        m.submodules.rows = rows = RowWriter(c)
        m.submodules.heads = heads = HeadExponents(c)
        m.submodules.magnitudes = magnitudes = MagnitudeWriter(V)
        for part in (silu, softmax):
            wiring.connect(m, part.tables, wiring.flipped(self.tables))

        # The instruction under way.
        op, store, weighs = issuer.operations, issuer.store, issuer.weighs
        started = Signal()  # a cycle after it was taken, for what no word needs before
        held = Signal.like(new)
        m.d.sync += [started.eq(self.instruction.valid & self.instruction.ready), held.eq(new)]
        wiring.connect(m, wiring.flipped(self.instruction), issuer.instruction)
        popped = Signal()
        m.d.comb += [
            self.done.eq(issuer.done),
            issuer.position.eq(self.position),
            issuer.rotation_base.eq(self.rotation_base),
            self.memory.request.eq(issuer.request),
            issuer.grant.eq(self.memory.grant),
            self.memory.address.eq(issuer.address),
            self.value_exponents.address.eq(issuer.exponent_at),
            self.magnitude_in.address.eq(issuer.magnitude_at),
            self.maximum.address.eq(issuer.maximum_at),
            popped.eq(queue.output.valid & queue.output.ready),
            issuer.popped.eq(popped),
            issuer.scalar_valid.eq(softmax.scalar_valid),
        ]
        row_stride, destination_at, scalar_at = Signal(16), Signal(16), Signal(6)
        with m.If(started):
            m.d.sync += [
                destination_at.eq(held.destination),
                scalar_at.eq(held.scalar),
                row_stride.eq(held.row_stride),
            ]
        with m.Elif(popped):
            m.d.sync += destination_at.eq(destination_at + 1)

        # Tags go along with the words: [k] is k cycles after the issue.
        def tags(value, cycles: int) -> list:
            chain = [value]
            for k in range(1, cycles + 1):
                chain.append(Signal.like(value, name=f"tag_{k}"))
                m.d.sync += chain[k].eq(chain[k - 1])
            return chain

        issue = issuer.issue
        valid = tags(issue, _PRODUCTS)
        ends, lasts = tags(issuer.segment_end, _LENGTH), tags(issuer.last, _REGISTERED)
        # What has fewer cycles to go enters its chain later: all leave at the end, so that nothing
        # is left on the way when the next instruction comes.
        out, out_end = Signal(_SLOWEST), Signal(_SLOWEST)
        enters = Signal(_SLOWEST)
        m.d.comb += [
            enters[0].eq(~store),
            enters[_SLOWEST - _STORED].eq(store),
        ]
        m.d.sync += [
            out.eq(out << 1 | Mux(issue, enters, 0)),
            out_end.eq(out_end << 1 | Mux(issue & issuer.segment_end, enters, 0)),
        ]

        # Registers behind the memories; a segment's magnitude is there a cycle before its word.
        magnitude = delayed(m, self.magnitude_in.data)
        length = bit_length(magnitude.found, magnitude.places)
        length = delayed(m, length, shape=LENGTH_BITS)
        operand = Signal(word_layout(c), reset_less=True)
        upper = delayed(m, issuer.upper)  # which half of the word holds the rotations
        arriving = Signal()
        m.d.sync += arriving.eq(issuer.asks)
        with m.If(arriving):
            m.d.sync += operand.eq(self.memory.data)
        late = delayed(m, operand)
        # The half is picked behind the register; neither is while no rotation is under way.
        picks = Signal(2)
        with m.If(~op[Operation.ROTATE]):
            m.d.sync += picks.eq(0)
        with m.Elif(arriving):
            m.d.sync += picks.eq(Cat(~upper, upper))
        both, half = operand.as_value(), V * TRIGONOMETRIC.bits
        picked = (both[:half] & picks[0].replicate(half)) | (
            both[half : 2 * half] & picks[1].replicate(half)
        )
        rotation, late_rotation = (
            [word.word_select(lane, TRIGONOMETRIC.bits) for lane in range(V)]
            for word in (picked, delayed(m, picked))
        )
        # What the instruction is, for the lanes: right from a word's first cycle on.
        scaling = op[Operation.MODULATE] | weighs
        kind = Cat(op[Operation.ROTATE], op[Operation.SILU], store, scaling)
        rotates, activates, stores, scales = delayed(m, kind)
        for lane in range(V):
            source = Signal(signed(VECTOR.bits), reset_less=True)
            with m.If(valid[1]):  # a rotation needs it for two cycles
                m.d.sync += source.eq(self.memory.data[lane])
            present = ~lasts[_REGISTERED] | (self.position[:lane_bits] >= lane)
            m.d.comb += [
                modulator.source[lane].eq(source),
                silu.argument[lane].eq(source),
                softmax.scores[lane].eq(source),
                softmax.present[lane].eq(present),
                softmax.exponents[lane].eq(self.value_exponents.data[lane]),
            ]
            with m.If(rotates):
                m.d.comb += products.value[lane].eq(source)
            with m.Elif(activates):
                m.d.comb += products.value[lane].eq(silu.delta[lane])
            with m.Else():
                m.d.comb += products.value[lane].eq(late[lane])
            m.d.comb += [
                products.code[lane].eq(
                    # Two of them are 0.
                    Mux(valid[_FACTORS], late_rotation[lane ^ 1], rotation[lane]).as_signed()
                    | silu.slope[lane]
                    | modulator.size[lane]
                ),
                products.up[lane].eq(modulator.up[lane]),
                products.negate[lane].eq(modulator.negative[lane]),
                rotator.product[lane].eq(products.product[lane]),
                silu.product[lane].eq(products.product[lane]),
                scaler.value[lane].eq(
                    # One of them is 0, here and below.
                    softmax.weight[lane] | products.product[lane][:VALUE_BITS].as_unsigned()
                ),
                scaler.amount[lane].eq(softmax.amount[lane] | modulator.amount),
            ]
        m.d.comb += [
            rotator.second.eq(valid[_PRODUCTS]),
            modulator.length.eq(length),
            modulator.below.eq(delayed(m, below(magnitude.found, magnitude.places))),
            scaler.active.eq(scales),
            rotator.active.eq(rotates),
            silu.active.eq(activates),
            modulator.coding.eq(stores),
            modulator.mute.eq(weighs),
            modulator.idle.eq(op[Operation.ROTATE] | op[Operation.SILU]),
            products.mute.eq(weighs),
            softmax.active.eq(weighs),
            modulator.product_shift.eq(self.settings.product_shift),
            silu.widen.eq(self.settings.silu_widen),
            softmax.valid.eq(valid[_REGISTERED] & weighs),
            softmax.gate.eq(op[Operation.GATE]),
            softmax.last.eq(lasts[_REGISTERED]),
            softmax.maximum.eq(delayed(m, self.maximum.data)),
            softmax.alignment.eq(heads.alignment),
            self.scalar_write.enable.eq(softmax.scalar_valid),
            self.scalar_write.address.eq(scalar_at),
            self.scalar_write.data.eq(softmax.scalar),
        ]

        # Results, registered, then into the queue and out of it.
        saturates = op[Operation.ROTATE] | op[Operation.MODULATE]
        clipped = Signal(V)
        for lane, value in enumerate(magnitudes.values):
            result = Signal(signed(VECTOR.bits), reset_less=True)
            over, least = delayed(m, scaler.over[lane]), delayed(m, scaler.least[lane])
            flag = rotator.clipped[lane] | scaler.over[lane] | scaler.least[lane]
            m.d.sync += clipped[lane].eq(flag & saturates & out[-2])
            # All of them but one are 0; the scaler's is clipped behind the register.
            m.d.sync += result.eq(
                scaler.result[lane]
                | rotator.result[lane]
                | silu.value[lane]
                | modulator.codes[lane]
            )
            at = lane * VECTOR.bits
            m.d.comb += [
                value.eq(clip(result, over, least)),
                queue.word[at : at + VECTOR.bits].eq(value),
                rows.words.payload[lane].eq(queue.output.payload[at : at + CODE.bits]),
            ]
        m.d.sync += self.saturations.eq(sum(clipped))
        write = self.vector_write.payload
        m.d.comb += [
            queue.push.eq(out[-1]),
            queue.output.ready.eq(Mux(store, rows.words.ready, self.vector_write.ready)),
            self.vector_write.valid.eq(queue.output.valid & ~store),
            write.address.eq(destination_at),
            write.data.as_value().eq(queue.output.payload),
            magnitudes.start.eq(started),
            magnitudes.register.eq(held.magnitude_out),
            magnitudes.valid.eq(out[-1] & ~store),
            magnitudes.end.eq(out_end[-1]),
        ]

        # Stores.
        exponent = delayed(m, heads.exponent, _CODED - _LENGTH)
        first_row = Mux(
            op[Operation.STORE_KEY],
            self.key_row_offset,
            self.position >> (c.cores.bit_length() - 1),
        )
        m.d.comb += [
            rows.start.eq(started),
            rows.key.eq(op[Operation.STORE_KEY]),
            rows.row.eq(held.row_base + first_row),
            rows.row_stride.eq(row_stride),
            rows.lane_word.eq(held.operand),
            rows.position.eq(self.position),
            rows.words.valid.eq(queue.output.valid & store),
            heads.start.eq(started),
            heads.address.eq(held.exponent_address),
            heads.register.eq(held.alignment),
            heads.stride.eq(self.settings.exponent_stride),
            heads.position.eq(self.position),
            heads.head.eq(store & valid[_LENGTH] & ends[_LENGTH]),
            heads.key.eq(op[Operation.STORE_KEY]),
            heads.length.eq(delayed(m, length)),
            self.key_value_valid.eq(store & valid[_CODED]),
            self.key_value_exponent.eq(exponent),
            *(self.key_value_codes[lane].eq(code) for lane, code in enumerate(modulator.codes)),
        ]
        for inner, outer in (
            (rows.row_write, self.row_write),
            (heads.key_write, self.key_exponent_write),
            (heads.value_write, self.value_exponent_write),
            (magnitudes.write, self.magnitude_write),
        ):
            wiring.connect(m, inner, wiring.flipped(outer))
        return m
