"""Post unit: drains gathered tiles; gain, scale, bias, residual; writes a vector or logits."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import stream
from amaranth.lib.data import StructLayout, View
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hdl.lib.pipeline import delayed
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
from hdl.units.post.arithmetic import SHIFT_BITS, PostPipeline
from hdl.units.post.issue import ADDRESS_BITS, COUNT_BITS, PostIssue
from hdl.units.post.logits import PostLogits
from hdl.units.post.reduce import PostReduce
from isa.configurations import Configuration
from isa.formats import VECTOR
from isa.instructions import POST

_ISSUED = 3  # cycles from a word's description to cycle 1 of its way: its sums come from all over


class Post(Component):
    """Executes POST instructions in order, one word of V elements a cycle.

    Counted from the cycle 0 in which a tile is valid and its first word is asked for, a word is
    written in cycle 17 (vector_write), its magnitude in cycle 18, its maximum in 18 + log2(V).
    `done` comes in cycle 18 of the last word, with a maximum or an argmax, or behind an instruction
    with one that is not done by then, in 18 + log2(V): a read in the next cycle sees everything.
    With logits it comes when the host has taken the last one. Two cycles pass between tiles; words
    with a bias come every three cycles.

    instruction      waits are satisfied when it is presented
    tiles            popped two cycles after the tile's last word was asked for
    residual         is never refused (its grant is not looked at)
    read_word, sums  the sums come five cycles after the word's number
    exponents        of the keys: read latency three cycles
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
            self.parameter_take.eq(issue.parameter_take),
            self.parameter_take_words.eq(issue.parameter_take_words),
            self.wait_stall.eq(issue.wait_stall),
            self.stream_stall.eq(issue.stream_stall),
            self.link_stall.eq(self.logits.valid & ~self.logits.ready),
        ]

        # The word that was asked for k + 3 cycles ago, for k = 1, 2, ...
        word = issue.issued
        for k in range(1, _ISSUED + 1):
            before, word = word, Signal.like(word, name=f"issued_{k}")
            m.d.sync += word.eq(before)
        valid, first, last = (
            _delays(m, word[name], name, 15) for name in ("valid", "first", "last")
        )
        passed = Signal()  # cycle 11 of an instruction's first word
        m.d.sync += passed.eq(valid[10] & first[10])
        next_context = self._contexts(m, issue, passed)
        # From cycle 12 to 14 the context of the word's own instruction: two of them are at least
        # three cycles apart.
        context = Signal.like(next_context, reset_less=True)
        with m.If(passed):
            m.d.sync += context.eq(next_context)
        tile_last = _delays(m, issue.issued.tile_last, "tile_last", 2)
        m.d.comb += issue.tile_taken.eq(tile_last[2])

        mask = Signal(c.vector_lanes)
        m.d.comb += mask.eq(
            Cat(~last[13] | (lane <= context.tail) for lane in range(c.vector_lanes))
        )

        m.d.comb += [pipeline.sums.eq(self.sums), pipeline.mask.eq(mask)]
        self._parameters(m, issue, word, pipeline, valid)
        self._scale(m, issue, word, pipeline)
        self._residual(m, next_context, pipeline, context, valid, first)
        self._write(m, passed, next_context, pipeline, reduce, context, mask, valid, first, last)
        self._finish(m, issue, logits, pipeline, context, valid, last)
        return m

    def _contexts(self, m: Module, issue, passed) -> View:
        """What the end of the pipeline needs of an instruction, from a queue: the front may be
        several instructions further. The next one's, which `passed` takes."""
        layout = _context_layout(self.c)
        m.submodules.contexts = contexts = Memory(shape=layout, depth=QUEUE_WORDS, init=[])
        write, read = contexts.write_port(), contexts.read_port(domain="comb")
        started = Signal()
        m.d.sync += [
            started.eq(issue.accepted),
            write.addr.eq(write.addr + started),
            read.addr.eq(read.addr + passed),
        ]
        kept = set(POST.layout().members) & set(layout.members)
        m.d.comb += [
            write.en.eq(started),
            *(write.data[name].eq(issue.context[name]) for name in sorted(kept)),
            write.data.tail.eq(issue.last_index),
            write.data.sends.eq(issue.sends),
        ]
        return read.data

    def _parameters(self, m: Module, issue, word, pipeline, valid) -> None:
        """Gains in cycle 1; biases come in cycles 2 and 3 and wait for cycle 11."""
        # Registers on both sides of the memory: it is far, and the sums are later anyway.
        m.d.comb += self.parameters.address.eq(delayed(m, issue.parameter_address))
        data = Signal(self.parameters.data.shape())
        m.d.comb += data.as_value().eq(delayed(m, self.parameters.data.as_value(), _ISSUED - 1))
        lanes = range(self.c.vector_lanes)
        for lane in lanes:
            m.d.comb += pipeline.parameters[lane].eq(
                Mux(word.use_parameters, data[lane], Cat(word.gain, word.drop))
            )
        m.submodules.biases = biases = Memory(
            shape=word_layout(self.c), depth=QUEUE_WORDS, init=[]
        )
        write, read = biases.write_port(), biases.read_port(domain="comb")
        use_bias = _delays(m, word.use_bias, "use_bias", 11)
        low = Signal(parameter_layout(self.c), reset_less=True)
        m.d.sync += [
            low.eq(data),
            write.addr.eq(write.addr + write.en),
            read.addr.eq(read.addr + (valid[11] & use_bias[11])),
        ]
        kept = Signal.like(pipeline.bias, reset_less=True)
        m.d.comb += [write.en.eq(valid[3] & use_bias[3]), pipeline.bias.eq(kept)]
        for lane in lanes:
            high = data[lane][: VECTOR.bits - 16]
            m.d.comb += write.data[lane].eq(Cat(low[lane], high))
            m.d.sync += kept[lane].eq(Mux(use_bias[11], read.data[lane], 0))

    def _scale(self, m: Module, issue, word, pipeline) -> None:
        """Mantissa for cycle 6, shift for cycle 7; key exponents are asked for in cycle 3."""
        mantissa = _delays(m, word.mantissa, "mantissa", 6)
        use_keys = _delays(m, word.key_exponents, "use_keys", 6)
        base = Signal(signed(SHIFT_BITS), name="shift_2", reset_less=True)
        m.d.sync += base.eq(word.shift - word.exponent - word.scale_exponent)
        shift = _delays(m, base, "shift", 6)  # shift[1] is of cycle 2
        issued = issue.issued  # while the context is of its instruction
        address = Signal(ADDRESS_BITS)
        with m.If(issued.valid):
            m.d.sync += address.eq(Mux(issued.first, issue.context.exponent_address, address + 1))
        kept = Signal.like(pipeline.exponents, reset_less=True)
        for lane in range(self.c.vector_lanes):
            m.d.sync += kept[lane].eq(Mux(use_keys[6], self.exponents.data[lane], 0))
        m.d.comb += [
            self.exponents.address.eq(delayed(m, address, _ISSUED + 1)),
            pipeline.mantissa.eq(mantissa[6]),
            pipeline.shift.eq(shift[6]),
            pipeline.exponents.eq(kept),
        ]

    def _residual(self, m: Module, next_context, pipeline, context, valid, first) -> None:
        """Asked for in cycle 11, so that the memory's output has a cycle of its own."""
        port, wanted = self.residual, Signal()
        use = Mux(first[10], next_context.use_residual, wanted)
        m.d.sync += port.request.eq(valid[10] & use)
        with m.If(valid[10]):
            m.d.sync += [
                wanted.eq(use),
                port.address.eq(Mux(first[10], next_context.residual, port.address + 1)),
            ]
        kept = Signal.like(pipeline.residual, reset_less=True)
        for lane in range(self.c.vector_lanes):
            m.d.sync += kept[lane].eq(Mux(context.use_residual, self.residual.data[lane], 0))
        m.d.comb += pipeline.residual.eq(kept)

    def _write(self, m: Module, passed, next_context, pipeline, reduce, context, mask, valid, first,
               last) -> None:  # fmt: skip
        control = Signal.like(reduce.control)  # of the word of cycle 14
        # Words left of a segment; 0 never ends one. Comparisons are made a word before.
        segment_left, ended = Signal(8), Signal()
        none, one, two = (Signal(name=f"segment_is_{n}") for n in range(3))
        left_is_one = Signal()
        with m.If(passed):
            m.d.sync += [
                signal.eq(next_context.segment == n) for n, signal in enumerate((none, one, two))
            ]
        begins = first[13] | ended
        ends = Signal()
        m.d.comb += ends.eq(last[13] | Mux(begins, one, left_is_one))
        m.d.sync += control.valid.eq(valid[13])
        with m.If(valid[13]):
            m.d.sync += [
                segment_left.eq(Mux(begins, context.segment, segment_left) - 1),
                left_is_one.eq(~none & Mux(begins, two, segment_left == 2)),
                ended.eq(ends),
                control.first.eq(first[13]),
                control.last.eq(last[13]),
                control.segment_first.eq(begins),
                control.segment_last.eq(ends),
                control.magnitude.eq(
                    Mux(first[13], context.magnitude, control.magnitude + ended)
                ),
                control.write_magnitude.eq(context.to_vector),
                control.write_maximum.eq(context.use_maximum),
                control.argmax.eq(context.argmax),
                control.maximum.eq(context.maximum),
                control.join_magnitude.eq(context.join_magnitude),
                self.vector_write.address.eq(
                    Mux(first[13], context.destination, self.vector_write.address + 1)
                ),
            ]
        mask_14 = Signal.like(mask, reset_less=True)
        m.d.sync += [
            mask_14.eq(mask),
            self.vector_write.enable.eq(valid[13] & context.to_vector),
        ]
        m.d.comb += [
            self.vector_write.data.eq(pipeline.result),
            reduce.word.eq(pipeline.result),
            reduce.mask.eq(mask_14),
            reduce.control.eq(control),
            self.next_token.eq(reduce.next_token),
            self.magnitude_join.eq(reduce.magnitude_join),
            self.join_address.eq(reduce.join_address),
        ]
        connect(m, reduce.magnitude_write, flipped(self.magnitude_write))
        connect(m, reduce.maximum_write, flipped(self.maximum_write))
        m.d.sync += self.saturations.eq(Mux(valid[14], pipeline.clipped, 0))

    def _finish(self, m: Module, issue, logits, pipeline, context, valid, last) -> None:
        levels = (self.c.vector_lanes - 1).bit_length()
        started = Signal()
        flushing = Signal()  # every word is with the logits queue, the host still takes some
        in_flight = Signal(range(QUEUE_WORDS))
        m.d.sync += [
            started.eq(issue.accepted),
            in_flight.eq(in_flight + issue.accepted - self.done),
        ]
        # slow: from cycle 15 to 15 + levels. What comes behind one goes the same way: done comes in
        # order. It is decided a cycle before, as others wait for it.
        ends = valid[14] & last[14]
        quick, slow = Signal(), Signal(levels + 1)
        all_sent = Signal(levels + 1)
        behind = context.use_maximum | context.argmax | slow[:-1].any()
        m.d.sync += [
            quick.eq(ends & ~behind & ~context.sends),
            slow[0].eq(ends & behind & ~context.sends),
            all_sent[0].eq(ends & context.sends),
        ]
        m.d.sync += [slow[1:].eq(slow[:-1]), all_sent[1:].eq(all_sent[:-1])]
        m.d.sync += flushing.eq((flushing & ~logits.empty) | all_sent[-1])
        m.d.comb += [
            logits.start.eq(started & issue.sends),
            logits.last_index.eq(issue.last_index),
            logits.reserve.eq(issue.reserve),
            logits.push.eq(valid[14] & context.sends),
            logits.word.eq(pipeline.result),
            issue.room.eq(logits.room),
            issue.sent.eq(flushing & logits.empty),
            self.done.eq(slow[-1] | quick | issue.sent),
            self.busy.eq(in_flight != 0),
            self.logits_count.eq(issue.last_index + 1),
        ]


def _context_layout(c: Configuration) -> StructLayout:
    """What the end of the pipeline needs of an instruction."""
    fields = POST.layout().members
    names = (
        "use_residual", "residual", "to_vector", "destination", "magnitude", "segment",
        "join_magnitude", "use_maximum", "maximum", "argmax",
    )  # fmt: skip
    more = {"tail": range(c.vector_lanes), "sends": 1}  # the last word's last lane; to the host
    return StructLayout({**{name: fields[name] for name in names}, **more})


def _delays(m: Module, signal, name: str, cycles: int) -> list:
    """[None, signal, signal a cycle later, ...]: element k is the value of cycle k of a word."""
    chain = [None, signal]
    for cycle in range(2, cycles + 1):
        chain.append(Signal(signal.shape(), name=f"{name}_{cycle}"))
        m.d.sync += chain[-1].eq(chain[-2])
    return chain
