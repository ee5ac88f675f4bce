"""The queue of a prompt's tokens between receiver and sequencer."""

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from hdl.lib.shapes import TOKEN_BITS
from hdl.memory.style import table_style


class PromptQueue(Component):
    """`depth` tokens in look-up tables, or with `block` in block RAM; `put` takes one, only while
    there is `room`.

    `prompt` offers the oldest, the second cycle after it came at the earliest and one in two cycles
    at most; `prompt_last` belongs to it. No wire passes from one side to the other: `room` and
    `prompt` are registers. The whole queue may be filled; a token that has left it makes room a
    cycle late.
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
        m.submodules.tokens = tokens = Memory(
            shape=unsigned(TOKEN_BITS + 1), depth=depth, init=[], attrs=table_style(self.block)
        )
        write, read = tokens.write_port(), tokens.read_port(domain="comb")
        level, get = Signal(range(depth + 1)), Signal()
        head = Signal(TOKEN_BITS + 1, reset_less=True)
        offered = self.prompt.valid
        m.d.comb += [
            write.data.eq(Cat(self.token, self.last)),
            write.en.eq(self.put),
            get.eq((level != 0) & ~offered),
            Cat(self.prompt.payload, self.prompt_last).eq(head),
        ]
        m.d.sync += [
            level.eq(level + self.put - get),
            self.room.eq((level != depth) & ~((level == depth - 1) & self.put)),
        ]
        for port, moves in ((write, self.put), (read, get)):
            with m.If(moves):
                m.d.sync += port.addr.eq(Mux(port.addr == depth - 1, 0, port.addr + 1))
        with m.If(~offered):
            m.d.sync += [head.eq(read.data), offered.eq(level != 0)]
        with m.Elif(self.prompt.ready):
            m.d.sync += offered.eq(0)
        return m
