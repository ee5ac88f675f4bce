"""Post unit: drains gathered tiles; gain, scale, bias, residual; writes a vector or logits."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hdl.lib.shapes import (
    POSITION_BITS,
    TOKEN_BITS,
    exponents_layout,
    parameter_layout,
    read_port,
    register_read,
    scalar_layout,
    settings_layout,
    shared_read,
    sums_layout,
    tile_layout,
    word_layout,
    write_port,
)
from hdl.memory.style import QUEUE_WORDS
from hdl.units.post_issue import ADDRESS_BITS, COUNT_BITS, PostIssue
from hdl.units.post_logits import PostLogits
from hdl.units.post_pipeline import SHIFT_BITS, PostPipeline
from hdl.units.post_reduce import PostReduce
from isa.configurations import Configuration
from isa.formats import VECTOR
from isa.instructions import POST


class Post(Component):
    """Executes POST instructions in order, one word of V elements a cycle.

    Counted from the cycle 0 in which a tile is valid and its first word is asked for, a word is
    written in cycle 13 (vector_write), its magnitude in cycle 14, its maximum in 14 + log2(V).
    `done` comes in cycle 14 of the last word, with a maximum or an argmax in 14 + log2(V): a read
    in the next cycle sees everything. With logits it comes when the host has taken the last one.
    Two cycles pass between tiles; words with a bias come every three cycles. An instruction starts
    eleven cycles after the one before it, or later.

    instruction      waits are satisfied when it is presented
    tiles            popped two cycles after the tile's last word was asked for
    residual         is never refused (its grant is not looked at)
    read_word, sums  the sums come three cycles after the word's number
    next_word        read_word of the next cycle
    parameter_*      the parameter ring: offset of the next word that was not taken, how many
                     have arrived and were not taken; take removes words, seen in the next cycle
    logits           elements of a to_host instruction, when send_logits is set as it is accepted;
                     logits_count: how many, steady while they come
    magnitude_join, join_address   of the magnitude that is written in the next cycle
    next_token       argmax of the last argmax instruction, from its done on; lowest index wins
    saturations      results clipped, all four steps, in this cycle
    wait_stall, stream_stall, link_stall   waits in this cycle for a tile, for parameters, for the
                     host to take a logit
    """

    def __init__(self, c: Configuration) -> None:
        self.c = c
        super().__init__(
            {
                "instruction": In(stream.Signature(POST.layout())),
                "done": Out(1),
                "position": In(POSITION_BITS),
                "settings": In(settings_layout()),
                "tiles": In(stream.Signature(tile_layout())),
                "read_word": Out(range(c.lanes // c.vector_lanes)),
                "next_word": Out(range(c.lanes // c.vector_lanes)),
                "sums": In(sums_layout(c)),
                "parameters": Out(read_port(ADDRESS_BITS, parameter_layout(c))),
                "parameter_pointer": In(ADDRESS_BITS),
                "parameter_available": In(ADDRESS_BITS),
                "parameter_take": Out(1),
                "parameter_take_words": Out(16),
                "exponents": Out(read_port(ADDRESS_BITS, exponents_layout(c))),
                "residual": Out(shared_read(16, word_layout(c))),
                "scalar": Out(register_read(6, scalar_layout())),
                "vector_write": Out(write_port(16, word_layout(c))),
                "magnitude_write": Out(write_port(8, VECTOR.bits)),
                "magnitude_join": Out(1),
                "join_address": Out(8),
                "maximum_write": Out(write_port(4, signed(VECTOR.bits))),
                "next_token": Out(TOKEN_BITS),
                "send_logits": In(1),
                "logits": Out(stream.Signature(signed(VECTOR.bits))),
                "logits_count": Out(COUNT_BITS),
                "busy": Out(1),
                "saturations": Out(range(4 * c.vector_lanes + 1)),
                "wait_stall": Out(1),
                "stream_stall": Out(1),
                "link_stall": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        c = self.c
        m.submodules.issue = issue = PostIssue(c)
        m.submodules.pipeline = pipeline = PostPipeline(c)
        m.submodules.reduce = reduce = PostReduce(c)
        m.submodules.logits = logits = PostLogits(c)

        connect(m, flipped(self.instruction), issue.instruction)
        connect(m, flipped(self.tiles), issue.tiles)
        connect(m, issue.scalar, flipped(self.scalar))
        connect(m, logits.logits, flipped(self.logits))
        m.d.comb += [
            issue.position.eq(self.position),
            issue.settings.eq(self.settings),
            issue.send_logits.eq(self.send_logits),
            issue.parameter_pointer.eq(self.parameter_pointer),
            issue.parameter_available.eq(self.parameter_available),
            self.read_word.eq(issue.read_word),
            self.next_word.eq(issue.next_word),
            self.parameters.address.eq(issue.parameter_address),
            self.parameter_take.eq(issue.parameter_take),
            self.parameter_take_words.eq(issue.parameter_take_words),
            self.wait_stall.eq(issue.wait_stall),
            self.stream_stall.eq(issue.stream_stall),
            self.link_stall.eq(self.logits.valid & ~self.logits.ready),
        ]

        # The word that was asked for k + 1 cycles ago, for k = 1, 2, ...: its sums come from all
        # over the chip, so that everything else waits a cycle for them.
        word = Signal.like(issue.issued)
        m.d.sync += word.eq(issue.issued)
        valid, first, last = (
            _delays(m, word[name], name, 13) for name in ("valid", "first", "last")
        )
        # From cycle 10 to 12 the context of the word's own instruction: the front may have moved
        # on, but two instructions are at least three cycles apart.
        context, tail, sends = Signal(POST.layout()), Signal(range(c.vector_lanes)), Signal()
        passed = Signal()  # of cycle 9, out of a register: an instruction's acceptance hangs on it
        m.d.sync += passed.eq(valid[8] & first[8])
        m.d.comb += issue.passed.eq(passed)
        with m.If(passed):
            m.d.sync += [
                context.eq(issue.context),
                tail.eq(issue.last_index[: len(tail)]),
                sends.eq(issue.sends),
            ]
        tile_last = _delays(m, issue.issued.tile_last, "tile_last", 2)
        m.d.comb += issue.tile_taken.eq(tile_last[2])

        mask = Signal(c.vector_lanes)
        m.d.comb += mask.eq(Cat(~last[11] | (lane <= tail) for lane in range(c.vector_lanes)))

        m.d.comb += [pipeline.sums.eq(self.sums), pipeline.mask.eq(mask)]
        self._parameters(m, word, pipeline, valid)
        self._scale(m, issue, word, pipeline, valid, first)
        self._residual(m, issue, pipeline, context, valid, first)
        self._write(m, issue, pipeline, reduce, context, mask, valid, first, last)
        self._finish(m, issue, logits, pipeline, context, sends, valid, last)
        return m

    def _parameters(self, m: Module, word, pipeline, valid) -> None:
        """Gains in cycle 1; biases come in cycles 2 and 3 and wait for cycle 9."""
        data = Signal.like(self.parameters.data, reset_less=True)
        m.d.sync += data.eq(self.parameters.data)
        lanes = range(self.c.vector_lanes)
        for lane in lanes:
            m.d.comb += pipeline.parameters[lane].eq(
                Mux(word.use_parameters, data[lane], Cat(word.gain, word.drop))
            )
        m.submodules.biases = biases = Memory(
            shape=word_layout(self.c), depth=QUEUE_WORDS, init=[]
        )
        write, read = biases.write_port(), biases.read_port(domain="comb")
        use_bias = _delays(m, word.use_bias, "use_bias", 9)
        low = Signal(parameter_layout(self.c), reset_less=True)
        m.d.sync += [
            low.eq(data),
            write.addr.eq(write.addr + write.en),
            read.addr.eq(read.addr + (valid[9] & use_bias[9])),
        ]
        kept = Signal.like(pipeline.bias, reset_less=True)
        m.d.comb += [write.en.eq(valid[3] & use_bias[3]), pipeline.bias.eq(kept)]
        for lane in lanes:
            high = data[lane][: VECTOR.bits - 16]
            m.d.comb += write.data[lane].eq(Cat(low[lane], high))
            m.d.sync += kept[lane].eq(Mux(use_bias[9], read.data[lane], 0))

    def _scale(self, m: Module, issue, word, pipeline, valid, first) -> None:
        """Mantissa and shift for cycle 5; key exponents are asked for in cycle 2."""
        mantissa = _delays(m, word.mantissa, "mantissa", 5)
        use_keys = _delays(m, word.key_exponents, "use_keys", 4)
        base = Signal(signed(SHIFT_BITS), name="shift_2", reset_less=True)
        m.d.sync += base.eq(word.shift - word.exponent - word.scale_exponent)
        shift = _delays(m, base, "shift", 4)  # shift[1] is of cycle 2
        address = self.exponents.address
        with m.If(valid[1]):
            m.d.sync += address.eq(Mux(first[1], issue.context.exponent_address, address + 1))
        kept = Signal.like(pipeline.exponents, reset_less=True)
        for lane in range(self.c.vector_lanes):
            m.d.sync += kept[lane].eq(Mux(use_keys[4], self.exponents.data[lane], 0))
        m.d.comb += [
            pipeline.mantissa.eq(mantissa[5]),
            pipeline.shift.eq(shift[4]),
            pipeline.exponents.eq(kept),
        ]

    def _residual(self, m: Module, issue, pipeline, context, valid, first) -> None:
        """Asked for in cycle 9, so that the memory's output has a cycle of its own."""
        port, wanted = self.residual, Signal()
        use = Mux(first[8], issue.context.use_residual, wanted)
        m.d.sync += port.request.eq(valid[8] & use)
        with m.If(valid[8]):
            m.d.sync += [
                wanted.eq(use),
                port.address.eq(Mux(first[8], issue.context.residual, port.address + 1)),
            ]
        kept = Signal.like(pipeline.residual, reset_less=True)
        for lane in range(self.c.vector_lanes):
            m.d.sync += kept[lane].eq(Mux(context.use_residual, self.residual.data[lane], 0))
        m.d.comb += pipeline.residual.eq(kept)

    def _write(self, m: Module, issue, pipeline, reduce, context, mask, valid, first, last) -> None:
        control = Signal.like(reduce.control)  # of the word of cycle 12
        # Words left of a segment; 0 never ends one. Comparisons are made a word before.
        segment_left, ended = Signal(8), Signal()
        none, one, two = (Signal(name=f"segment_is_{n}") for n in range(3))
        left_is_one = Signal()
        with m.If(issue.passed):
            m.d.sync += [
                signal.eq(issue.context.segment == n) for n, signal in enumerate((none, one, two))
            ]
        begins = first[11] | ended
        ends = Signal()
        m.d.comb += ends.eq(last[11] | Mux(begins, one, left_is_one))
        m.d.sync += control.valid.eq(valid[11])
        with m.If(valid[11]):
            m.d.sync += [
                segment_left.eq(Mux(begins, context.segment, segment_left) - 1),
                left_is_one.eq(~none & Mux(begins, two, segment_left == 2)),
                ended.eq(ends),
                control.first.eq(first[11]),
                control.last.eq(last[11]),
                control.segment_first.eq(begins),
                control.segment_last.eq(ends),
                control.magnitude.eq(
                    Mux(first[11], context.magnitude, control.magnitude + ended)
                ),
                control.write_magnitude.eq(context.to_vector),
                control.write_maximum.eq(context.use_maximum),
                control.argmax.eq(context.argmax),
                control.maximum.eq(context.maximum),
                control.join_magnitude.eq(context.join_magnitude),
                self.vector_write.address.eq(
                    Mux(first[11], context.destination, self.vector_write.address + 1)
                ),
            ]
        mask_12 = Signal.like(mask, reset_less=True)
        m.d.sync += [
            mask_12.eq(mask),
            self.vector_write.enable.eq(valid[11] & context.to_vector),
        ]
        m.d.comb += [
            self.vector_write.data.eq(pipeline.result),
            reduce.word.eq(pipeline.result),
            reduce.mask.eq(mask_12),
            reduce.control.eq(control),
            self.next_token.eq(reduce.next_token),
            self.magnitude_join.eq(reduce.magnitude_join),
            self.join_address.eq(reduce.join_address),
        ]
        connect(m, reduce.magnitude_write, flipped(self.magnitude_write))
        connect(m, reduce.maximum_write, flipped(self.maximum_write))
        m.d.sync += self.saturations.eq(Mux(valid[12], pipeline.clipped, 0))

    def _finish(self, m: Module, issue, logits, pipeline, context, sends, valid, last) -> None:
        levels = (self.c.vector_lanes - 1).bit_length()
        reduces, sends_13, started = Signal(), Signal(), Signal()
        flushing = Signal()  # every word is with the logits queue, the host still takes some
        in_flight = Signal(3)
        m.d.sync += [
            started.eq(issue.accepted),
            reduces.eq(context.use_maximum | context.argmax),
            sends_13.eq(sends),
            in_flight.eq(in_flight + issue.accepted - self.done),
        ]
        ended = valid[13] & last[13]
        quick, slow = Signal(), Signal(levels + 1)  # slow: from cycle 13 to 13 + levels
        all_sent = Signal(levels + 1)
        m.d.comb += [
            quick.eq(ended & ~reduces & ~sends_13),
            slow[0].eq(ended & reduces & ~sends_13),
            all_sent[0].eq(ended & sends_13),
        ]
        m.d.sync += [slow[1:].eq(slow), all_sent[1:].eq(all_sent)]
        m.d.sync += flushing.eq((flushing & ~logits.empty) | all_sent[-1])
        # A quick one waits while a slow one before it is under way: done comes in order.
        owed, waiting, pay = Signal(2), Signal(2), Signal()
        m.d.comb += [
            waiting.eq(owed + quick + issue.sent),
            pay.eq((waiting != 0) & ~slow.any()),
        ]
        m.d.sync += owed.eq(waiting - pay)
        m.d.comb += [
            logits.start.eq(started & issue.sends),
            logits.last_index.eq(issue.last_index),
            logits.reserve.eq(issue.reserve),
            logits.push.eq(valid[12] & sends),
            logits.word.eq(pipeline.result),
            issue.room.eq(logits.room),
            issue.sent.eq(flushing & logits.empty),
            self.done.eq(slow[-1] | pay),
            self.busy.eq(in_flight != 0),
            self.logits_count.eq(issue.last_index + 1),
        ]


def _delays(m: Module, signal, name: str, cycles: int) -> list:
    """[None, signal, signal a cycle later, ...]: element k is the value of cycle k of a word."""
    chain = [None, signal]
    for cycle in range(2, cycles + 1):
        chain.append(Signal(signal.shape(), name=f"{name}_{cycle}"))
        m.d.sync += chain[-1].eq(chain[-2])
    return chain
