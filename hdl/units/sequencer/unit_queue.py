"""The queue of one unit's instructions, whose head is offered when its waits are satisfied."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hdl.lib.queues import Queue
from hdl.units.sequencer.units import COMPLETED_BITS, OPCODES, UNITS
from isa.instructions import RECORDS


class UnitQueue(Component):
    """Instructions of `unit` in order; the head is offered once what it waits for is complete.

    A wait counts the completed instructions of another unit since `clear`, which begins a token.
    Which instruction a unit completes next is counted from 1: `completing` is ours, completing_X
    and done_X are those of the unit X (done_X: X completes one in this cycle).

    `waiting`: there is a head, and it may not start. `idle`: every instruction that was pushed is
    completed, IDLE_LATENCY cycles after the last `done`.
    """

    LATENCY = Queue.first_word_latency + 2  # cycles from a push to its offer, without a wait
    DONE_TO_OFFER = 1  # cycles from `done_X` to the offer of a head that waited for it
    IDLE_LATENCY = 2  # cycles from `done` to `idle`

    def __init__(self, unit: str) -> None:
        self.record = RECORDS[OPCODES[unit]]
        self.others = [other for other in UNITS if other != unit]
        super().__init__(
            {
                "push": In(stream.Signature(unsigned(self.record.bits))),
                "instruction": Out(stream.Signature(self.record.layout())),
                "done": In(1),
                "clear": In(1),
                "completing": Out(COMPLETED_BITS, init=1),
                "idle": Out(1),
                "waiting": Out(1),
                **{f"completing_{other}": In(COMPLETED_BITS) for other in self.others},
                **{f"done_{other}": In(1) for other in self.others},
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.queue = queue = Queue(unsigned(self.record.bits))
        connect(m, flipped(self.push), queue.i)
        # The instruction behind the head waits in a register, too. So whether the next cycle's
        # head may start is decided for both, before it is known which of them that is.
        layout = self.record.layout()
        head, following = Signal(layout), Signal(layout)
        head_valid, following_valid = Signal(), Signal()
        may_start = Signal()  # the head
        moves = Signal()  # `following` becomes the head
        m.d.comb += [
            moves.eq(~head_valid | (self.instruction.ready & may_start)),
            queue.o.ready.eq(moves | ~following_valid),
            self.instruction.payload.eq(head),
            self.instruction.valid.eq(may_start),
            self.waiting.eq(head_valid & ~may_start),
        ]
        with m.If(queue.o.ready):
            m.d.sync += [following.eq(queue.o.payload), following_valid.eq(queue.o.valid)]
        with m.If(moves):
            m.d.sync += [
                head.eq(following),
                head_valid.eq(following_valid),
                may_start.eq(following_valid & self._satisfied(following)),
            ]
        with m.Else():
            m.d.sync += may_start.eq(self._satisfied(head))

        pushing = Signal(COMPLETED_BITS, init=1)  # the number of the next instruction to come
        pushed = self.push.valid & self.push.ready
        with m.If(self.clear):
            m.d.sync += [pushing.eq(1), self.completing.eq(1)]
        with m.Else():
            m.d.sync += [
                pushing.eq(pushing + pushed),
                self.completing.eq(self.completing + self.done),
            ]
        m.d.sync += self.idle.eq((pushing == self.completing) & ~pushed)
        return m

    def _satisfied(self, waiting) -> Value:
        """Whether the other units have completed, by the end of this cycle, all that an
        instruction waits for: the count completing + done - 1 - wait is not negative."""
        conditions = []
        for other in self.others:
            completing = getattr(self, f"completing_{other}")
            wait = getattr(waiting, f"wait_{other}")
            # `done` comes late in its cycle: it chooses between the signs of both differences.
            missing_without = (completing + ~wait)[COMPLETED_BITS - 1]
            missing_with = (completing - wait)[COMPLETED_BITS - 1]
            done = getattr(self, f"done_{other}")
            conditions.append(~Mux(done, missing_with, missing_without))
        return Cat(*conditions).all()
