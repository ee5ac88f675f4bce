"""What the end of the post unit's pipeline needs of the instruction that a word belongs to."""

from amaranth.hdl import Module, Signal
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import Component, In, Out

from hdl.lib.queues import QueueMemory
from hdl.units.post.stages import RESIDUAL_DECIDED, STAGES
from isa.configurations import Configuration
from isa.instructions import POST

_SHORTEST = 3  # cycles from the first word of an instruction to that of the next one


def context_layout(c: Configuration) -> StructLayout:
    """Fields of the instruction, `tail` (the last word's last lane) and `sends` (to the host)."""
    fields = POST.layout().members
    names = (
        "use_residual", "residual", "to_vector", "destination", "magnitude", "segment",
        "join_magnitude", "use_maximum", "maximum", "argmax",
    )  # fmt: skip
    more = {"tail": range(c.vector_lanes), "sends": 1}
    return StructLayout({**{name: fields[name] for name in names}, **more})


class PostContexts(Component):
    """A queue of contexts: the front may be several instructions further than the end.

    `push` adds `context`. `first` says that the first word of an instruction is at the stage
    stages.RESIDUAL_DECIDED: `ahead` is its context, and `present` is two cycles later and until
    the word of the next one is there.
    """

    def __init__(self, c: Configuration) -> None:
        self.c = c
        if STAGES.between(RESIDUAL_DECIDED, "result") > _SHORTEST + 1:
            raise ValueError("an instruction's context is replaced before its last word is done")
        super().__init__(
            {
                "push": In(1),
                "context": In(context_layout(c)),
                "first": In(1),
                "passed": Out(1),
                "ahead": Out(context_layout(c)),
                "present": Out(context_layout(c)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.queue = queue = QueueMemory(context_layout(self.c))
        present = Signal.like(self.present, reset_less=True)
        m.d.sync += self.passed.eq(self.first)
        with m.If(self.passed):
            m.d.sync += present.eq(self.ahead)
        m.d.comb += [
            queue.push.eq(self.push),
            queue.word.eq(self.context),
            queue.pop.eq(self.passed),
            self.ahead.eq(queue.oldest),
            self.present.eq(present),
        ]
        return m
