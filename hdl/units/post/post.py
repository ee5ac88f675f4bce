"""Post unit: drains gathered tiles; gain, scale, bias, residual; writes a vector or logits."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hdl.lib.pipeline import Pipeline
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
from hdl.units.post.arithmetic import PostArithmetic
from hdl.units.post.completion import PostCompletion
from hdl.units.post.contexts import PostContexts
from hdl.units.post.issue import PostIssue
from hdl.units.post.logits import PostLogits
from hdl.units.post.operands import ParameterOperands, ResidualOperands, ScaleOperands
from hdl.units.post.reduce import PostReduce
from hdl.units.post.stages import RESIDUAL_DECIDED, STAGES, TILE_TAKEN
from hdl.units.post.supply import ADDRESS_BITS
from hdl.units.post.words import COUNT_BITS
from hdl.units.post.writer import PostWriter
from isa.configurations import Configuration
from isa.formats import VECTOR
from isa.instructions import POST


class Post(Component):
    """Executes POST instructions in order, one word of V elements a cycle.

    The stages of a word are in stages.STAGES. Counted from the cycle in which a tile is valid and
    the word is asked for, it is written WRITE_LATENCY cycles later (vector_write), its segment's
    magnitude in the cycle after that, its instruction's maximum stages.reduction_stages behind it.
    `done` comes DONE_LATENCY cycles after the last word was asked for; with a maximum or an argmax,
    or behind an instruction with one that is not done by then, with the maximum. A read in the next
    cycle sees everything. With logits it comes when the host has taken the last one. TILE_GAP
    cycles pass between tiles; words with a bias come every three cycles.

    instruction      waits are satisfied when it is presented
    tiles            popped stages.TILE_TAKEN cycles after the tile's last word was asked for
    residual         is never refused (its grant is not looked at)
    read_word, sums  the sums come at the stage `sums`
    exponents        of the keys: they come stages.EXPONENT_READ cycles after the address
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

    WRITE_LATENCY = STAGES.latency
    DONE_LATENCY = STAGES.latency + 1

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
        m.submodules.contexts = contexts = PostContexts(c)
        m.submodules.arithmetic = arithmetic = PostArithmetic(c)
        m.submodules.reduce = reduce = PostReduce(c)
        m.submodules.logits = logits = PostLogits(c)

        pipeline = Pipeline(m, STAGES)
        valid, first, last, tile_last = (
            pipeline.carry(issue.issued[name], "described", name=name, reset=True)
            for name in ("valid", "first", "last", "tile_last")
        )
        tail = contexts.present.tail
        present = Cat(~last["biased"] | (lane <= tail) for lane in range(c.vector_lanes))
        mask = pipeline.carry(present, "biased", name="mask")
        m.d.comb += [
            issue.tile_taken.eq(tile_last["asked", TILE_TAKEN]),
            contexts.first.eq(valid[RESIDUAL_DECIDED] & first[RESIDUAL_DECIDED]),
            arithmetic.sums.eq(self.sums),
            arithmetic.mask.eq(mask["biased"]),
            reduce.word.eq(arithmetic.result),
            reduce.mask.eq(mask["result"]),
            logits.word.eq(arithmetic.result),
            logits.push.eq(valid["result"] & contexts.present.sends),
            self.vector_write.data.eq(arithmetic.result),
            self.next_token.eq(reduce.next_token),
            self.magnitude_join.eq(reduce.magnitude_join),
            self.join_address.eq(reduce.join_address),
        ]
        m.d.sync += self.saturations.eq(Mux(valid["result"], arithmetic.clipped, 0))
        connect(m, reduce.magnitude_write, flipped(self.magnitude_write))
        connect(m, reduce.maximum_write, flipped(self.maximum_write))
        self._front(m, issue)
        self._operands(m, issue, contexts, arithmetic, valid, first)
        self._writes(m, contexts, reduce, valid, first, last)
        self._instructions(m, issue, contexts, logits, valid, last)
        return m

    def _front(self, m: Module, issue: PostIssue) -> None:
        """Instructions, tiles and the parameter ring: PostIssue takes them."""
        connect(m, flipped(self.instruction), issue.instruction)
        connect(m, flipped(self.tiles), issue.tiles)
        connect(m, issue.scalar, flipped(self.scalar))
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
        ]

    def _operands(self, m: Module, issue, contexts, arithmetic, valid, first) -> None:
        """What the arithmetic takes beside the sums, each at its stage."""
        m.submodules.parameters = parameters = ParameterOperands(self.c)
        m.submodules.scale = scale = ScaleOperands(self.c)
        m.submodules.residuals = residuals = ResidualOperands(self.c)
        m.d.comb += [
            parameters.word.eq(issue.issued),
            parameters.parameter_address.eq(issue.parameter_address),
            scale.word.eq(issue.issued),
            scale.exponent_address.eq(issue.context.exponent_address),
            residuals.valid.eq(valid[RESIDUAL_DECIDED]),
            residuals.first.eq(first[RESIDUAL_DECIDED]),
            residuals.ahead.eq(contexts.ahead),
            residuals.present.eq(contexts.present),
            arithmetic.parameters.eq(parameters.gains),
            arithmetic.mantissa.eq(scale.mantissa),
            arithmetic.shift.eq(scale.shift),
            arithmetic.exponents.eq(scale.key_exponents),
            arithmetic.bias.eq(parameters.bias),
            arithmetic.residual.eq(residuals.residual),
        ]
        connect(m, parameters.parameters, flipped(self.parameters))
        connect(m, scale.exponents, flipped(self.exponents))
        connect(m, residuals.memory, flipped(self.residual))

    def _writes(self, m: Module, contexts, reduce, valid, first, last) -> None:
        """Addresses and registers that results go to."""
        m.submodules.writer = writer = PostWriter(self.c)
        m.d.comb += [
            writer.valid.eq(valid["result", -1]),
            writer.first.eq(first["result", -1]),
            writer.last.eq(last["result", -1]),
            writer.passed.eq(contexts.passed),
            writer.ahead.eq(contexts.ahead),
            writer.present.eq(contexts.present),
            self.vector_write.enable.eq(writer.enable),
            self.vector_write.address.eq(writer.address),
            reduce.control.eq(writer.control),
        ]

    def _instructions(self, m: Module, issue, contexts, logits, valid, last) -> None:
        """An instruction's context from its acceptance on, its logits, and when it is done."""
        m.submodules.completion = completion = PostCompletion(self.c)
        started, present = Signal(), contexts.present
        m.d.sync += started.eq(issue.accepted)
        kept = set(POST.layout().members) & set(present.shape().members)
        m.d.comb += [
            contexts.push.eq(started),
            *(contexts.context[name].eq(issue.context[name]) for name in sorted(kept)),
            contexts.context.tail.eq(issue.last_index),
            contexts.context.sends.eq(issue.sends),
            logits.start.eq(started & issue.sends),
            logits.last_index.eq(issue.last_index),
            logits.reserve.eq(issue.reserve),
            issue.room.eq(logits.room),
            issue.sent.eq(completion.sent),
            completion.accepted.eq(issue.accepted),
            completion.ends.eq(valid["result"] & last["result"]),
            completion.sends.eq(present.sends),
            completion.reduces.eq(present.use_maximum | present.argmax),
            completion.logits_empty.eq(logits.empty),
            self.done.eq(completion.done),
            self.busy.eq(completion.busy),
            self.logits_count.eq(issue.last_index + 1),
            self.link_stall.eq(self.logits.valid & ~self.logits.ready),
        ]
        connect(m, logits.logits, flipped(self.logits))
