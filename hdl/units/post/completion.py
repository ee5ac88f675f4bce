"""When an instruction of the post unit is done: `done` comes in order, from one of three ends."""

from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import Component, In, Out

from hdl.lib.queues import QUEUE_WORDS
from hdl.units.post.stages import reduction_stages
from isa.configurations import Configuration


class PostCompletion(Component):
    """`done` once for each instruction, in the order in which they were accepted.

    `ends` comes with the result of an instruction's last word; `sends` (logits go to the host) and
    `reduces` (it has a maximum or an argmax) belong to it. The done comes

    - a cycle later, with the last magnitude;
    - with the maximum (stages.reduction_stages) where there is one, or where an instruction in
      front is not done yet;
    - with `sent`, when the host has taken the last logit: `logits_empty`, once every word has had
      the time to come to the logits' queue.

    busy: an instruction was accepted that is not done.
    """

    def __init__(self, c: Configuration) -> None:
        self.c = c
        super().__init__(
            {
                "accepted": In(1),
                "ends": In(1),
                "sends": In(1),
                "reduces": In(1),
                "logits_empty": In(1),
                "sent": Out(1),
                "done": Out(1),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        maximum = reduction_stages(self.c)["maximum"]
        quick, slow, all_sent = Signal(), Signal(maximum), Signal(maximum)
        flushing = Signal()  # every word is with the logits' queue, the host still takes some
        in_flight = Signal(range(QUEUE_WORDS))
        # Which way is decided a cycle before the first of them ends: others wait for `done`.
        behind = self.reduces | slow[:-1].any()
        m.d.sync += [
            quick.eq(self.ends & ~behind & ~self.sends),
            slow.eq(slow << 1 | (self.ends & behind & ~self.sends)),
            all_sent.eq(all_sent << 1 | (self.ends & self.sends)),
            flushing.eq((flushing & ~self.logits_empty) | all_sent[-1]),
            in_flight.eq(in_flight + self.accepted - self.done),
        ]
        m.d.comb += [
            self.sent.eq(flushing & self.logits_empty),
            self.done.eq(slow[-1] | quick | self.sent),
            self.busy.eq(in_flight != 0),
        ]
        return m
