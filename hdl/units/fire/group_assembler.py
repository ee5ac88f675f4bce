"""Words of a vector become groups of N codes, each with the place in its schedule to begin at."""

from amaranth.hdl import Array, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import stream
from amaranth.lib.data import StructLayout
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import Component, In, Out

from hdl.lib.arithmetic import bit_length
from hdl.lib.pipeline import Pipeline, Stages
from hdl.lib.queues import QUEUE_WORDS
from hdl.lib.shapes import settings_layout, word_layout
from hdl.units.fire import encoder
from hdl.units.fire.encoder import Encoder
from hdl.units.fire.layouts import STEP_BITS, group_layout
from isa.configurations import Configuration
from isa.formats import CODE

STAGES = Stages(
    read=0,  # the word's address is granted
    data=1,  # vector memory gives it
    word=1,  # a block RAM's output has a cycle of its own
    codes=encoder.LATENCY,
    group=1,  # the group is complete, if the word was its last
)
"""A word's way into its group."""


def read_layout(c: Configuration) -> StructLayout:
    """A word as it is read: what it is for, and what its group will need."""
    group = group_layout(c)
    return StructLayout(
        {
            "valid": unsigned(1),
            "index": unsigned((c.neuron_lanes // c.vector_lanes - 1).bit_length()),  # in its group
            "complete": unsigned(1),  # the group's last word
            "lane": unsigned((c.neuron_lanes - 1).bit_length()),  # of a direct spike
            **{n: group[n].shape for n in ("direct", "squares", "exponent", "start", "place")},
        }
    )


class GroupAssembler(Component):
    """Follows every word that is read through memory and encoder, and queues the groups they make.

    read     the word whose address is granted in this cycle; `start` is its schedule's first step.
             `mask` belongs to it: elements that are there, and are encoded
    data     the word that was read in the cycle before
    begins   it is the first one of a group
    room     in the next cycle another group may begin: there is room for all that have
    """

    def __init__(self, c: Configuration) -> None:
        self.c = c
        super().__init__(
            {
                "settings": In(settings_layout()),
                "read": In(read_layout(c)),
                "mask": In(c.vector_lanes),
                "data": In(word_layout(c)),
                "begins": In(1),
                "room": Out(1),
                "groups": Out(stream.Signature(group_layout(c))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        pipeline = Pipeline(m, STAGES)
        read = pipeline.carry(self.read, "read", name="read", reset=True)
        mask = pipeline.carry(self.mask, "read")
        data = pipeline.carry(self.data, "data")
        m.submodules.encoder = codes = Encoder(self.c)
        m.d.comb += [
            codes.word.eq(data["word"]),
            codes.mask.eq(mask["word"]),
            codes.exponent.eq(read["word"].exponent),
        ]
        arrived, coming = read["codes"], read["codes", -1]
        group, complete = Signal(group_layout(self.c)), Signal()
        peak, found = Signal(CODE.bits - 1), Signal(CODE.bits - 1)  # OR over the group's |code|
        size = Signal(range(CODE.bits))  # bits of it
        m.d.sync += complete.eq(arrived.valid & arrived.complete)
        m.d.comb += found.eq(codes.peak | Mux(arrived.index == 0, 0, peak))
        with m.If(arrived.valid):
            m.d.sync += [
                group.direct.eq(arrived.direct),
                group.squares.eq(arrived.squares),
                group.exponent.eq(arrived.exponent),
                group.place.eq(arrived.place),
                peak.eq(found),
                size.eq(Mux(arrived.direct, 1, bit_length(found))),
            ]
        self._fill(m, group.codes, codes.codes, arrived, coming)
        self._queue(m, group, complete, size, arrived.start)
        return m

    def _fill(self, m: Module, filled, codes, arrived, coming) -> None:
        """Codes into the group's registers. The group's first word clears what the others fill.
        Which codes a word is for is known before it has passed the encoder."""
        lanes = self.c.vector_lanes
        for word in range(self.c.neuron_lanes // lanes):
            here, loads = Signal(name=f"here_{word}"), Signal(name=f"loads_{word}")
            clears = coming.direct | (coming.index == 0)
            m.d.sync += [
                here.eq(coming.index == word),
                loads.eq(coming.valid & (clears | (coming.index == word))),
            ]
            with m.If(loads):
                for element in range(lanes):
                    lane = word * lanes + element
                    code = Mux(here, codes[element], 0)
                    spike = Mux(arrived.lane == lane, Const(1, signed(2)), 0)
                    m.d.sync += filled[lane].eq(Mux(arrived.direct, spike, code))

    def _queue(self, m: Module, group, complete, size, first_step) -> None:
        """Queues complete groups, and counts the room for those that have not begun.

        Where a group begins in its schedule is found on the way into the queue: behind it the
        neuron core addresses schedule memory in the same cycle, so the queue gives its words out
        of a register. The start table is added for every size, as the group's own is known late.
        """
        starts = Array(Signal(STEP_BITS, name=f"start_{bits}") for bits in range(CODE.bits))
        for bits, start in enumerate(starts):
            m.d.sync += start.eq(first_step + getattr(self.settings, f"start_{bits}"))
        placed = Signal(group_layout(self.c))
        taken = Signal()
        width = group_layout(self.c).size
        m.submodules.queue = queue = SyncFIFOBuffered(width=width, depth=QUEUE_WORDS)
        m.d.comb += [
            placed.eq(group),
            placed.start.eq(starts[size]),
            placed.silent.eq(self.settings.skip_silent & (size == 0)),
            queue.w_data.eq(placed),
            queue.w_en.eq(complete),
            self.groups.payload.eq(queue.r_data),
            self.groups.valid.eq(queue.r_rdy),
            queue.r_en.eq(self.groups.ready),
            taken.eq(queue.r_rdy & queue.r_en),
        ]
        credits = Signal(range(QUEUE_WORDS + 1), init=QUEUE_WORDS)  # groups that may begin
        with m.If(self.begins != taken):
            m.d.sync += credits.eq(Mux(taken, credits + 1, credits - 1))
        m.d.comb += self.room.eq(taken | (credits > 1) | ((credits == 1) & ~self.begins))
