"""Neuron core: N EI-IF neurons step together through the firing schedule (golden.units.neuron)."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.data import ArrayLayout, StructLayout
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, connect, flipped

from hdl.lib.shapes import settings_layout, table_write
from hdl.memory.rows import ROW_ADDRESS_BITS
from hdl.memory.style import style
from hdl.units.membrane import SPIKE_BITS, Membrane, drive_layout
from hdl.units.squares import SumOfSquares, squares_layout
from isa.configurations import Configuration
from isa.contents import EMPTY, Contents
from isa.formats import CODE, EXPONENT, SCHEDULE_STEPS
from isa.packets import Space
from isa.schedule import LEAK_CLEAR, LEAK_NONE, STEP, Reset

STEP_BITS = (SCHEDULE_STEPS - 1).bit_length()


def place_layout(c: Configuration) -> StructLayout:
    """What a group of N neurons needs besides its codes and hands on to its spikes."""
    return StructLayout(
        {
            "row": unsigned(ROW_ADDRESS_BITS),  # of the group's first G neurons
            "ring": unsigned(1),  # row is an offset in the row ring
            "end": unsigned(1),  # the tile's last group
            "first_tile": unsigned(1),
            "width": unsigned(c.lanes.bit_length()),  # sums wanted of this tile, 1..P
        }
    )


def group_layout(c: Configuration) -> StructLayout:
    """N codes that fire together."""
    return StructLayout(
        {
            "codes": ArrayLayout(signed(CODE.bits), c.neuron_lanes),
            "start": unsigned(STEP_BITS),  # entry of the schedule memory to begin with
            "silent": unsigned(1),  # all codes are 0 and such groups are skipped
            "direct": unsigned(1),  # codes are 0 or 1 and fire at once, whatever the schedule
            "squares": unsigned(1),  # this tile's codes are summed up squared
            "exponent": signed(EXPONENT.bits),  # of the codes; goes to `squares`
            "place": place_layout(c),
        }
    )


def step_layout(c: Configuration) -> StructLayout:
    """The spikes of one step of a group, and whether its tile ends with them."""
    return StructLayout(
        {
            "fired": unsigned(c.neuron_lanes),
            "negative": unsigned(c.neuron_lanes),
            "amplitude": unsigned(3),
            "place": place_layout(c),  # end: no more spikes of this tile
        }
    )


def _stored(address: int, step: int) -> int:
    """A link word of the schedule as the memory keeps it."""
    fields = STEP.unpack(step & ((1 << STEP.bits) - 1))
    fields["threshold"] = -fields["threshold"] % (1 << len(Signal(STEP.layout()).threshold))
    fields["last"] |= address == SCHEDULE_STEPS - 1
    return STEP.pack(**fields)


def _phase_layout() -> StructLayout:
    """What the neurons do in a cycle of a step; one of them is set while a group is active."""
    names = ("integrate", "limit", "fire", "shift", "subtract", "settle")
    return StructLayout({**dict.fromkeys(names, unsigned(1)), "soft": unsigned(1)})  # a soft fire


class NeuronCore(wiring.Component):
    """Groups of N codes in, steps with spikes out; no cycle between groups of two steps or more.

    A step of a shipped schedule (soft or no reset, no leak or cleared potentials, integrating only
    from 0) takes one cycle. Integrating elsewhere takes 2 more, a hard reset 1 more, a leak of k
    k + 2 more. That all potentials are zero is seen in the cycle after a step; a group that
    stops for it takes 2 cycles more, and sends its tile's end with a step of its own.

    Every group begins at the step it names and ends with a `last` one, so that schedules of
    several populations lie in the memory. A silent group is dropped while others step, unless its
    tile ends with it. Steps without spikes are not sent, except one with place.end. The
    schedules come through `tables` (space SCHEDULE) and may change while no group is in the core;
    one without a `last` step ends at entry 127.

    squares: for tiles whose groups set `squares`, the sum of sign * (code << amplitude) over all
    spikes, which is the sum of code**2 for every schedule whose spikes sum to the code. A further
    such tile waits while one is not taken.
    """

    def __init__(self, c: Configuration, contents: Contents = EMPTY) -> None:
        self.c, self._contents = c, contents
        super().__init__(
            {
                "groups": In(stream.Signature(group_layout(c))),
                "steps": Out(stream.Signature(step_layout(c))),
                "squares": Out(stream.Signature(squares_layout())),
                "settings": In(settings_layout()),
                "tables": In(table_write()),
            }
        )

    def elaborate(self, platform):
        c = self.c
        lanes = c.neuron_lanes
        m = Module()
        settings = self.settings

        first_port, following_port = self._schedule(m)

        # The next group waits here while its first step is read from the schedule.
        waiting = Signal(group_layout(c))
        waiting_valid = Signal()
        single = Signal()  # the waiting group takes one step that is not in the schedule
        load = Signal()  # it begins in the next cycle

        group = self.groups.payload
        accept = self.groups.valid & self.groups.ready
        m.d.comb += [
            self.groups.ready.eq(~waiting_valid),
            first_port.addr.eq(group.start),
            first_port.en.eq(accept),
        ]
        with m.If(load):
            m.d.sync += waiting_valid.eq(0)
        with m.If(accept):
            m.d.sync += [
                waiting.eq(group),
                waiting_valid.eq(~group.silent | group.place.end),
                single.eq(group.silent | group.direct),
            ]

        active = Signal()
        entry = Signal(STEP.layout())
        pointer = Signal(STEP_BITS)
        codes = Signal(ArrayLayout(signed(CODE.bits), lanes))
        squared = Signal()
        exponent = Signal(signed(EXPONENT.bits))
        place = Signal(place_layout(c))

        phase = Signal(_phase_layout())
        drive = Signal(drive_layout())
        fired, negative, zeros = Signal(lanes), Signal(lanes), Signal(lanes)
        sent = self.steps.ready | ~self.steps.valid
        go, step = Signal(), Signal()
        for k in range(lanes):
            m.submodules[f"membrane_{k}"] = membrane = Membrane()
            m.d.comb += [
                membrane.enable.eq(sent | ~active),
                membrane.drive.eq(drive),
                membrane.code.eq(codes[k]),
                membrane.next_code.eq(waiting.codes[k]),
                fired[k].eq(membrane.fired),
                negative[k].eq(membrane.negative),
                zeros[k].eq(membrane.zero),
            ]

        following = Signal(STEP.layout())
        m.d.comb += following.eq(following_port.data)
        clears = entry.leak == LEAK_CLEAR
        leaks = (entry.leak != LEAK_NONE) & ~clears
        slow = leaks | (entry.reset == Reset.HARD)
        may_stop = settings.skip_silent & entry.final_when_zero
        reloads = clears & following.integrate & ~may_stop
        first_cycle, stops = Signal(), Signal()  # of a step; if all potentials are zero in it
        stop = Signal()
        m.d.comb += [
            go.eq(active & sent),
            step.eq(go & ((phase.fire & ~slow) | phase.settle)),
            stop.eq(first_cycle & stops & zeros.all()),
        ]
        left = Signal(entry.leak.shape())
        first_shift = Signal()
        with m.If(go):
            m.d.sync += [
                first_cycle.eq(0),
                phase.eq(0),
                phase.limit.eq(phase.integrate),
                phase.fire.eq(phase.limit),
                phase.soft.eq(phase.limit & (entry.reset == Reset.SOFT)),
                phase.shift.eq((phase.fire & leaks) | (phase.shift & (left != 1))),
                phase.subtract.eq(phase.shift & (left == 1)),
                phase.settle.eq((phase.fire & slow & ~leaks) | phase.subtract),
                first_shift.eq(phase.fire),
                left.eq(Mux(phase.fire, entry.leak, left - 1)),
            ]
        self._drive(m, drive, phase, entry, load, clears, reloads, first_shift)

        def begin(following, charged) -> list:
            """The first cycle of a step; `charged`: it has integrated already."""
            fires = ~following.integrate | charged
            return [
                entry.eq(following),
                first_cycle.eq(1),
                phase.eq(0),
                phase.integrate.eq(~fires),
                phase.fire.eq(fires),
                phase.soft.eq(fires & (following.reset == Reset.SOFT)),
            ]

        squares_busy = Signal()
        tile_start = Signal(init=1)
        hold = squares_busy & waiting.squares & Mux(active, place.end, tile_start)
        m.d.comb += load.eq(waiting_valid & (~active | (step & entry.last)) & ~hold)

        with m.If(step):
            m.d.sync += [pointer.eq(pointer + 1), stops.eq(may_stop), *begin(following, reloads)]
        with m.If((step & entry.last) | (go & stop)):
            m.d.sync += [active.eq(0), tile_start.eq(place.end)]
        with m.If(load):
            first = Signal(STEP.layout())
            m.d.comb += first.eq(first_port.data)
            m.d.sync += [
                active.eq(1),
                pointer.eq(waiting.start),
                stops.eq(0),
                *begin(first, 0),
                codes.eq(waiting.codes),
                squared.eq(waiting.squares),
                exponent.eq(waiting.exponent),
                place.eq(waiting.place),
            ]
            with m.If(single):
                m.d.sync += [entry.eq(0), entry.threshold.eq(-1), entry.last.eq(1)]
                m.d.sync += [phase.integrate.eq(0), phase.fire.eq(1), phase.soft.eq(0)]
        # Two steps ahead: the memory takes a cycle, and the register `entry` another. Whether a
        # group may begin is known early; whether it does would be late for the address.
        ended = ~active | entry.last
        m.d.comb += [
            following_port.en.eq(step | load),
            following_port.addr.eq(Mux(ended, waiting.start + 1, pointer + 2)),
        ]

        # A step of several cycles leaves its spikes in the output register until it is complete.
        tile_end = (entry.last | stop) & place.end
        complete = step | (go & stop)
        payload = self.steps.payload
        with m.If(sent):
            m.d.sync += self.steps.valid.eq(
                complete & (Mux(phase.settle, payload.fired.any(), fired.any()) | tile_end)
            )
            m.d.sync += payload.place.end.eq(tile_end)
            with m.If(phase.fire | stop):
                m.d.sync += [
                    payload.fired.eq(fired),
                    payload.negative.eq(negative),
                    payload.amplitude.eq(entry.amplitude),
                    payload.place.eq(place),
                    payload.place.end.eq(tile_end),
                ]

        with m.If(load & waiting.squares):
            m.d.sync += squares_busy.eq(1)
        with m.Elif(self.squares.valid & self.squares.ready):
            m.d.sync += squares_busy.eq(0)
        m.submodules.sum = sum_of_squares = SumOfSquares(c)
        connect(m, sum_of_squares.squares, flipped(self.squares))
        m.d.comb += [
            sum_of_squares.valid.eq(go & squared & (phase.fire | complete)),
            sum_of_squares.spikes.fired.eq(Mux(phase.fire, fired, 0)),
            sum_of_squares.spikes.negative.eq(negative),
            sum_of_squares.spikes.amplitude.eq(entry.amplitude),
            sum_of_squares.spikes.codes.eq(codes),
            sum_of_squares.spikes.exponent.eq(exponent),
            sum_of_squares.spikes.end.eq(complete & tile_end),
        ]
        return m

    def _schedule(self, m: Module):
        """The schedule memory: thresholds are kept negated, and the last entry is a `last` one.
        Returns the ports of a group's first entry and of the others."""
        m.submodules.schedule = schedule = Memory(
            shape=unsigned(STEP.layout().size),
            depth=SCHEDULE_STEPS,
            init=[_stored(*entry) for entry in enumerate(self._contents.of(Space.SCHEDULE))],
            attrs=style(SCHEDULE_STEPS),
        )
        write_port = schedule.write_port()
        word, entry = Signal(STEP.layout()), Signal(STEP.layout())
        m.d.comb += [
            word.eq(self.tables.data),
            entry.eq(word.as_value()),
            entry.threshold.eq(-word.threshold),
            entry.last.eq(word.last | (self.tables.address == SCHEDULE_STEPS - 1)),
            write_port.en.eq(self.tables.enable & (self.tables.space == Space.SCHEDULE)),
            write_port.addr.eq(self.tables.address),
            write_port.data.eq(entry),
        ]
        return schedule.read_port(transparent_for=()), schedule.read_port(transparent_for=())

    def _drive(self, m, drive, phase, entry, load, clears, reloads, first_shift) -> None:
        """The neurons' orders for this cycle of the step."""
        amplitudes = range(SPIKE_BITS)
        m.d.comb += [
            drive.load.eq(load),
            drive.integrate.eq(phase.integrate),
            drive.limit.eq(phase.limit),
            drive.fire.eq(phase.fire),
            drive.soft.eq(phase.soft),
            drive.hard.eq(phase.fire & (entry.reset == Reset.HARD)),
            drive.clear.eq(phase.fire & clears),
            drive.reload.eq(phase.fire & reloads),
            drive.shift.eq(phase.shift),
            drive.first_shift.eq(first_shift),
            drive.subtract.eq(phase.subtract),
            drive.below.eq(entry.threshold),
            drive.plus.eq(Cat(phase.soft & (entry.amplitude == k) for k in amplitudes)),
            drive.minus.eq(Cat(phase.soft & (entry.amplitude <= k) for k in amplitudes)),
        ]
