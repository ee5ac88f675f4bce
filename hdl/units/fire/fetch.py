"""Vector fetch: executes FIRE instructions up to the groups of codes that the neuron core fires."""

from amaranth.hdl import Module
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hdl.lib import bit_groups
from hdl.lib.ports import pass_ports
from hdl.lib.shapes import (
    POSITION_BITS,
    TOKEN_BITS,
    register_read,
    settings_layout,
    shared_read,
    word_layout,
)
from hdl.memory.rows import ROW_ADDRESS_BITS
from hdl.units.fire.group_assembler import GroupAssembler
from hdl.units.fire.layouts import group_layout
from hdl.units.fire.tile_reader import COUNT_BITS, TileReader, open_tile_layout
from isa.configurations import Configuration
from isa.formats import VECTOR
from isa.instructions import FIRE


class Fetch(Component):
    """For every tile of every FIRE instruction: one item of `tiles`, then its groups of N codes.

    The vector is read and encoded anew for each tile, a word a cycle. `done` pulses in instruction
    order once nothing more is read from `source` or from the row ring. `neurons` is an
    instruction's neuron count for one cycle (1 for one_hot), else 0. stream_stall: a tile waits
    for rows. busy: an instruction is being executed. `position` is constant from the cycle before
    an instruction on. See hdl.units.fire.fire for the shared ports.
    """

    def __init__(self, c: Configuration) -> None:
        self.c = c
        super().__init__(
            {
                "instruction": In(stream.Signature(FIRE.layout())),
                "done": Out(1),
                "position": In(POSITION_BITS),
                "token": In(TOKEN_BITS),
                "settings": In(settings_layout()),
                "source": Out(shared_read(16, word_layout(c))),
                "magnitude": Out(register_read(8, bit_groups.grouped_layout(VECTOR.bits))),
                "ring_pointer": In(ROW_ADDRESS_BITS),
                "ring_available": In(ROW_ADDRESS_BITS),
                "ring_take": Out(1),
                "ring_take_rows": Out(16),
                "groups": Out(stream.Signature(group_layout(c))),
                "tiles": Out(stream.Signature(open_tile_layout())),
                "neurons": Out(COUNT_BITS),
                "busy": Out(1),
                "stream_stall": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.reader = reader = TileReader(self.c)
        m.submodules.assembler = assembler = GroupAssembler(self.c)
        pass_ports(m, reader, self, [
            "instruction", "done", "position", "token", "magnitude", "ring_pointer",
            "ring_available", "ring_take", "ring_take_rows", "tiles", "neurons", "busy",
            "stream_stall",
        ])  # fmt: skip
        pass_ports(m, assembler, self, ["settings"])
        connect(m, assembler.groups, flipped(self.groups))
        m.d.comb += [
            self.source.request.eq(reader.request),
            self.source.address.eq(reader.address),
            reader.grant.eq(self.source.grant),
            assembler.data.eq(self.source.data),
            assembler.read.eq(reader.read),
            assembler.mask.eq(reader.mask),
            assembler.begins.eq(reader.begins),
            reader.room.eq(assembler.room),
        ]
        return m
