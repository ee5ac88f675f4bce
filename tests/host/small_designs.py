"""Small circuits in the place of a board's core: the flow is the same and takes seconds."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from amaranth.hdl import Module, Signal, signed, unsigned
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from hdl.boards import board
from hdl.boards.top import BoardTop
from host.flow.design import Design
from isa.configurations import configuration


class SmallCore(Component):
    """An adder of `bits` bits, and what is asked for besides; all of it reaches the UART's pin."""

    def __init__(self, bits: int = 16, multiplier: bool = False, block: bool = False,
                 table: bool = False, twins: bool = False) -> None:
        self.bits, self.multiplier, self.block, self.table = bits, multiplier, block, table
        self.twins = twins
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1), "leds": Out(8)})

    def elaborate(self, platform):
        m = Module()
        shift, total = Signal(self.bits), Signal(self.bits)
        m.d.sync += [shift.eq(shift << 1 | self.rx), total.eq(total + shift), self.tx.eq(total[-1])]
        m.d.comb += self.leds.eq(total)
        if self.multiplier:
            product = Signal(signed(36))
            m.d.sync += product.eq(shift[:16].as_signed() * total[:16].as_signed())
            with m.If(product[20]):
                m.d.sync += self.tx.eq(product[-1])
        for wanted, style in ((self.block, "block"), (self.table, "distributed")):
            if wanted:
                memory = Memory(shape=unsigned(16), depth=512 if style == "block" else 16,
                                init=[], attrs={"ram_style": style})
                m.submodules[style] = memory
                write, read = memory.write_port(), memory.read_port(transparent_for=())
                m.d.comb += [write.addr.eq(shift), write.data.eq(total), write.en.eq(self.rx),
                             read.addr.eq(total)]
                with m.If(read.data[3]):
                    m.d.sync += self.tx.eq(read.data.xor())
        if self.twins:
            for k in range(2):
                m.submodules[f"twin_{k}"] = twin = Twin()
                m.d.sync += twin.value.eq(shift ^ k)
                with m.If(twin.parity):
                    m.d.sync += self.tx.eq(total[k])
        return m


class Twin(Component):
    """A module that stands twice in a design."""

    value: In(16)
    parity: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.parity.eq(self.value.xor())
        return m


@dataclass(frozen=True)
class SmallDesign(Design):
    """A design with `core` on the board's pins."""

    core: Callable[[], SmallCore] = SmallCore

    def top(self) -> BoardTop:
        top = BoardTop(self.board, self.configuration, self.contents, self.core_hz)
        top.core = self.core
        return top


def small(name: str = "ulx3s_25f", core: dict | None = None, **options) -> SmallDesign:
    """A small design on a board, with the name of a small configuration; core: of SmallCore."""
    make = partial(SmallCore, **(core or {}))
    return SmallDesign(board(name), configuration("minimal"), core=make, **options)
