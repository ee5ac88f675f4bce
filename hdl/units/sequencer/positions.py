"""The position in the context, and the addresses that depend on it."""

from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import Component, In, Out

from hdl.lib.shapes import POSITION_BITS, settings_layout
from isa.configurations import Configuration


class Positions(Component):
    """`position` counts up at each `advance`, from 0 after `clear`.

    rotation_base = position * rotation_stride, key_row_offset = (position // P) * key_stride: kept
    as running sums, so no product is formed. Advances are at least two cycles apart.
    """

    def __init__(self, c: Configuration) -> None:
        self.c = c
        super().__init__(
            {
                "settings": In(settings_layout()),
                "clear": In(1),
                "advance": In(1),
                "position": Out(POSITION_BITS),
                "rotation_base": Out(16),
                "key_row_offset": Out(20),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        settings = self.settings
        in_block = Signal(range(self.c.lanes))  # position mod P
        last_in_block = Signal()  # compared a cycle before an advance needs it
        m.d.sync += last_in_block.eq(in_block == self.c.lanes - 1)
        with m.If(self.clear):
            m.d.sync += [
                self.position.eq(0),
                self.rotation_base.eq(0),
                self.key_row_offset.eq(0),
                in_block.eq(0),
            ]
        with m.Elif(self.advance):
            m.d.sync += [
                self.position.eq(self.position + 1),
                self.rotation_base.eq(self.rotation_base + settings.rotation_stride),
                in_block.eq(in_block + 1),
            ]
            with m.If(last_in_block):
                m.d.sync += self.key_row_offset.eq(self.key_row_offset + settings.key_stride)
        return m
