"""The groups in the neuron core: the one that waits, and the one whose neurons step."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import Component, In, Out

from hdl.units.fire.layouts import group_layout
from isa.configurations import Configuration


def present_layout(c: Configuration) -> StructLayout:
    """What is kept of a group while its neurons step."""
    members = group_layout(c).members
    return StructLayout({name: members[name] for name in ("codes", "squares", "exponent", "place")})


class GroupRegisters(Component):
    """Takes the next group while one is under way.

    accept      a group is taken from `groups` in this cycle, to be `waiting`. Silent groups are
                dropped, unless their tile ends with them
    ready       the waiting group may begin. One that begins a tile whose squares are wanted may
                not, until `squares_taken` says that those of the tile before were
    single      its step is not in the schedule: it fires at once, or is silent
    enable      the neurons' clock enable, for what follows
    between     `present` becomes the waiting group, which may be none
    load        with `between`: it begins in the next cycle, and waits no longer
    """

    LATENCY = 1  # cycles from a group's transfer to `ready`

    def __init__(self, c: Configuration) -> None:
        self.c = c
        super().__init__(
            {
                "groups": In(stream.Signature(group_layout(c))),
                "accept": Out(1),
                "waiting": Out(group_layout(c)),
                "ready": Out(1),
                "single": Out(1),
                "squares_taken": In(1),
                "enable": In(1),
                "between": In(1),
                "load": In(1),
                "present": Out(present_layout(c)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        group = self.groups.payload
        waiting, waits = Signal.like(group, reset_less=True), Signal()
        tile_begins = Signal(init=1)  # with the next group that is accepted
        squares_begin = Signal()  # with the waiting group
        squares_busy = Signal()  # a tile's squares are being summed up, or not taken yet
        m.d.comb += [
            self.groups.ready.eq(~waits),
            self.accept.eq(self.groups.valid & self.groups.ready),
            self.waiting.eq(waiting),
            self.ready.eq(waits & ~(squares_busy & squares_begin)),
        ]
        begins = self.enable & self.load
        with m.If(begins):
            m.d.sync += [waits.eq(0), tile_begins.eq(waiting.place.end)]
        with m.If(self.accept):
            m.d.sync += [
                waiting.eq(group),
                waits.eq(~group.silent | group.place.end),
                self.single.eq(group.silent | group.direct),
                squares_begin.eq(group.squares & tile_begins),
            ]
        with m.If(begins & waiting.squares):
            m.d.sync += squares_busy.eq(1)
        with m.Elif(self.squares_taken):
            m.d.sync += squares_busy.eq(0)

        # Harmless loads are unconditional: `load` is late, and would enable all these registers.
        present = Signal(present_layout(self.c), reset_less=True)
        m.d.comb += self.present.eq(present)
        with m.If(self.enable & self.between):
            m.d.sync += [present[name].eq(waiting[name]) for name in present.shape().members]
        return m
