"""The queue of a prompt's tokens between receiver and sequencer."""

from amaranth.hdl import Cat, Module, Signal, unsigned
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out

from hdl.lib.half_rate import HalfRateRegister
from hdl.lib.queues import QueueMemory
from hdl.lib.shapes import TOKEN_BITS
from hdl.memory.style import table_style


class PromptQueue(Component):
    """A queue of `depth` tokens; `put` takes one, only while there is `room`.

    `prompt` offers the oldest, the second cycle after it came at the earliest, one in two cycles
    at most; `prompt_last` belongs to it. `room` and `prompt` are registers. The whole queue may be
    filled; a token that has left it makes room a cycle late. block: in block RAM, else in look-up
    tables.
    """

    def __init__(self, depth: int, block: bool = False) -> None:
        self.depth, self.block = depth, block
        super().__init__(
            {
                "put": In(1),
                "token": In(TOKEN_BITS),
                "last": In(1),
                "room": Out(1),
                "prompt": Out(stream.Signature(unsigned(TOKEN_BITS))),
                "prompt_last": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        depth = self.depth
        m.submodules.tokens = tokens = QueueMemory(
            TOKEN_BITS + 1, depth, table_style(self.block)
        )
        m.submodules.head = head = HalfRateRegister(TOKEN_BITS + 1)
        level, get = Signal(range(depth + 1)), Signal()
        m.d.comb += [
            tokens.push.eq(self.put),
            tokens.word.eq(Cat(self.token, self.last)),
            tokens.pop.eq(get),
            get.eq(head.i.valid & head.i.ready),
            head.i.valid.eq(level != 0),
            head.i.payload.eq(tokens.oldest),
            self.prompt.valid.eq(head.o.valid),
            head.o.ready.eq(self.prompt.ready),
            Cat(self.prompt.payload, self.prompt_last).eq(head.o.payload),
        ]
        m.d.sync += [
            level.eq(level + self.put - get),
            self.room.eq((level != depth) & ~((level == depth - 1) & self.put)),
        ]
        return m
