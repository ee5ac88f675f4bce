"""Spike router: steps of N neurons become address events at G synapse cores."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from hdl.lib.shapes import event_layout, settings_layout
from hdl.memory.rows import ROW_ADDRESS_BITS
from hdl.units.fire.layouts import step_layout
from isa.configurations import Configuration

_UNSEEN = 2  # steps that may come between a queue's level and what it decides


def _entry_layout(lanes: int) -> StructLayout:
    """One core's share of a step."""
    return StructLayout(
        {
            "fired": unsigned(lanes),
            "negative": unsigned(lanes),
            "amplitude": unsigned(3),
            "end": unsigned(1),
            "row": unsigned(ROW_ADDRESS_BITS),
            "ring": unsigned(1),
        }
    )


class Router(wiring.Component):
    """Lane k of a step goes to core k mod G, row place.row + k div G, lowest lane first.

    events[g] gives one event a cycle. Each core has a queue of router_depth steps; steps without
    spikes for a core take no room in its queue, and a tile's end reaches every core after all its
    spikes. With place.ring the row is settings.row_ring_base | (row & settings.row_ring_mask).
    Steps are taken while every queue has room, also for those that are on their way to it.
    """

    LATENCY = 4
    """Cycles from a step's transfer to its first event's offer: registers for the way to a queue,
    for the queue, for the step that is unpacked, for the event."""

    def __init__(self, c: Configuration) -> None:
        self.c = c
        super().__init__(
            {
                "steps": In(stream.Signature(step_layout(c))),
                "events": Out(stream.Signature(event_layout(c))).array(c.cores),
                "settings": In(settings_layout()),
            }
        )

    def elaborate(self, platform):
        c = self.c
        m = Module()
        step = self.steps.payload
        lanes = c.neuron_lanes // c.cores
        layout = _entry_layout(lanes)
        queues = []
        for core in range(c.cores):
            queue = SyncFIFO(width=layout.size, depth=c.router_depth)
            m.submodules[f"queue_{core}"] = queue
            queues.append(queue)
        room = Signal()  # known a cycle late
        most = c.router_depth - _UNSEEN - 1
        m.d.sync += room.eq(Cat(queue.level <= most for queue in queues).all())
        m.d.comb += self.steps.ready.eq(room)
        for core, queue in enumerate(queues):
            put = Signal(layout, name=f"put_{core}", reset_less=True)
            fired = step.fired[core :: c.cores]
            m.d.sync += [
                put.fired.eq(fired),
                put.negative.eq(step.negative[core :: c.cores]),
                put.amplitude.eq(step.amplitude),
                put.end.eq(step.place.end),
                put.row.eq(step.place.row),
                put.ring.eq(step.place.ring),
                queue.w_en.eq(self.steps.valid & room & (fired.any() | step.place.end)),
            ]
            m.d.comb += queue.w_data.eq(put)
            self._unpack(m, core, queue, layout, lanes)
        return m

    def _unpack(self, m, core: int, queue: SyncFIFO, layout: StructLayout, lanes: int) -> None:
        """The head of one core's queue, event by event, into its output register.

        The end of a tile is an event of its own, after the last spike's.
        """
        head = Signal(layout, name=f"head_{core}")
        head_valid = Signal(name=f"head_valid_{core}")
        event = self.events[core]
        moves = event.ready | ~event.valid

        lowest = Signal(range(lanes), name=f"lowest_{core}")
        for lane in reversed(range(lanes)):
            with m.If(head.fired[lane]):
                m.d.comb += lowest.eq(lane)
        rest = Signal(lanes, name=f"rest_{core}")
        m.d.comb += rest.eq(head.fired & (head.fired - 1))
        spike = head.fired.any()
        # That the head's next event is its last is known in the cycle before.
        following = Signal(layout, name=f"following_{core}")
        final = Signal(name=f"final_{core}")
        leaves = moves & final
        row = Signal(ROW_ADDRESS_BITS, name=f"row_{core}")
        m.d.comb += row.eq(head.row + lowest)
        wrapped = self.settings.row_ring_base | (row & self.settings.row_ring_mask)
        with m.If(moves):
            m.d.sync += [
                event.valid.eq(head_valid),
                event.payload.row.eq(Mux(head.ring, wrapped, row)),
                event.payload.negative.eq(head.negative.bit_select(lowest, 1)),
                event.payload.amplitude.eq(head.amplitude),
                event.payload.end.eq(~spike),
            ]
        take = ~head_valid | leaves
        m.d.comb += [queue.r_en.eq(take), following.eq(queue.r_data)]
        with m.If(take):
            m.d.sync += [
                head.eq(following),
                head_valid.eq(queue.r_rdy),
                final.eq(_is_final(following.fired, following.end)),
            ]
        with m.Elif(moves):
            m.d.sync += [head.fired.eq(rest), final.eq(_is_final(rest, head.end))]


def _is_final(fired, end) -> Value:
    """Whether only one event is left: one spike, or the end after the last."""
    return ~(fired & (fired - 1)).any() & ~(fired.any() & end)
