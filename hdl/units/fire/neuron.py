"""Neuron core: N EI-IF neurons step together through the firing schedule (golden.units.neuron)."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.data import ArrayLayout, StructLayout
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, connect, flipped

from hdl.lib.shapes import settings_layout, table_write
from hdl.lib.table_port import connect_tables
from hdl.memory.rows import ROW_ADDRESS_BITS
from hdl.memory.style import table_style
from hdl.units.fire.membrane import SPIKE_BITS, Membrane, drive_layout
from hdl.units.fire.squares import SumOfSquares, squares_layout
from isa.configurations import Configuration
from isa.contents import EMPTY, Contents
from isa.formats import CODE, EXPONENT, SCHEDULE_STEPS
from isa.packets import Space
from isa.schedule import LEAK_CLEAR, LEAK_NONE, STEP, Reset

STEP_BITS = (SCHEDULE_STEPS - 1).bit_length()
_THRESHOLD_NEURONS = 4  # that compare with one register of a threshold: more are far apart


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
    """What the neurons do in a cycle of a step: one of the first six while a group is active.
    soft: a soft fire. completes: the step's last cycle; ends: the group's last (but for a stop),
    and every cycle without a group."""
    names = ("integrate", "limit", "fire", "shift", "subtract", "settle")
    more = ("soft", "completes", "ends")
    return StructLayout(dict.fromkeys((*names, *more), unsigned(1)))


def _kind_layout() -> StructLayout:
    """What a step's entry means, decoded while the entry is loaded. hard: unless it clears."""
    names = ("soft", "hard", "clears", "leaks", "slow", "may_stop", "may_reload")
    spike = dict.fromkeys(("plus", "minus"), unsigned(SPIKE_BITS))  # -+ 2**amplitude
    return StructLayout({**dict.fromkeys(names, unsigned(1)), **spike})


class NeuronCore(wiring.Component):
    """Groups of N codes in, steps with spikes out; no cycle between groups of two steps or more.

    A step of a shipped schedule (soft or no reset, no leak or cleared potentials, integrating only
    from 0) takes one cycle. Integrating elsewhere takes 2 more, a hard reset 1 more, a leak of k
    k + 2 more. That all potentials are zero is seen in the cycle after a step; a group that
    stops for it takes 2 cycles more, and sends its tile's end with a step of its own. While `steps`
    is not ready everything waits, whether a step is offered or not.

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

        schedule = self._schedule(m)
        first_port = schedule.read_port(transparent_for=())

        # The next group waits here while its first step is read from the schedule.
        waiting = Signal(group_layout(c), reset_less=True)
        waiting_valid = Signal()
        single = Signal()  # the waiting group takes one step that is not in the schedule
        following_start = Signal(STEP_BITS, reset_less=True)  # of its second step
        load = Signal()  # it begins in the next cycle
        # Nothing moves in a cycle in which a step could not be sent, so that this enables registers
        # and stands in no decision.
        sent = self.steps.ready

        group = self.groups.payload
        accept = self.groups.valid & self.groups.ready
        m.d.comb += [
            self.groups.ready.eq(~waiting_valid),
            first_port.addr.eq(group.start),
            first_port.en.eq(accept),
        ]
        squares_busy = Signal()
        tile_start = Signal(init=1)  # a group that is accepted is the first of its tile
        new_squares = Signal()  # the waiting group is, and wants the sum of squares
        with m.If(sent & load):
            m.d.sync += [waiting_valid.eq(0), tile_start.eq(waiting.place.end)]
        with m.If(accept):
            m.d.sync += [
                waiting.eq(group),
                waiting_valid.eq(~group.silent | group.place.end),
                single.eq(group.silent | group.direct),
                following_start.eq(group.start + 1),
                new_squares.eq(group.squares & tile_start),
            ]

        active = Signal()
        entry = Signal(STEP.layout())
        ahead = Signal(STEP_BITS, reset_less=True)  # the step after the following one
        codes = Signal(ArrayLayout(signed(CODE.bits), lanes), reset_less=True)
        squared = Signal()
        exponent = Signal(signed(EXPONENT.bits), reset_less=True)
        place = Signal(place_layout(c), reset_less=True)

        phase = Signal(_phase_layout(), init={"ends": 1})
        # The reverse of phase.ends, for the many registers that a group is loaded into; and the
        # same for the schedule memory.
        inside, turns = Signal(), Signal(init=1, attrs={"keep": 1})

        def end(ends) -> list:
            return [phase.ends.eq(ends), inside.eq(~ends), turns.eq(ends)]

        drive = Signal(drive_layout())
        thresholds = [  # entry's, negated
            Signal(entry.threshold.shape(), name=f"threshold_{k}", attrs={"keep": 1})
            for k in range(-(-lanes // _THRESHOLD_NEURONS))
        ]

        def compare_with(threshold) -> list:
            return [copy.eq(threshold) for copy in thresholds]

        fired, negative, zeros = Signal(lanes), Signal(lanes), Signal(lanes)
        step = Signal()
        for k in range(lanes):
            m.submodules[f"membrane_{k}"] = membrane = Membrane()
            m.d.comb += [
                membrane.enable.eq(sent),
                membrane.drive.eq(drive),
                membrane.below.eq(thresholds[k // _THRESHOLD_NEURONS]),
                membrane.code.eq(codes[k]),
                membrane.next_code.eq(waiting.codes[k]),
                membrane.fired_before.eq(self.steps.payload.fired[k]),
                fired[k].eq(membrane.fired),
                negative[k].eq(membrane.negative),
                zeros[k].eq(membrane.zero),
            ]

        following = Signal(STEP.layout(), reset_less=True)
        kind = Signal(_kind_layout())
        reloads = kind.may_reload & following.integrate
        first_cycle = Signal()  # of a step
        stops = Signal()  # in it: the group, if all potentials are zero
        stop = Signal()
        m.d.comb += [
            step.eq(active & phase.completes),
            stop.eq(stops & zeros.all()),
        ]
        left = Signal(entry.leak.shape())
        after_fire = Signal()
        settles = (phase.fire & kind.slow & ~kind.leaks) | phase.subtract
        completes = settles | (phase.limit & ~kind.slow)
        self._drive(m, drive, phase, entry, kind, reloads, after_fire)
        m.d.comb += drive.load.eq(~inside)

        def begin(following, charged) -> list:
            """The first cycle of a step; `charged`: it has integrated already."""
            fires = ~following.integrate | charged
            clears = following.leak == LEAK_CLEAR
            leaks = (following.leak != LEAK_NONE) & ~clears
            slow = leaks | (following.reset == Reset.HARD)
            soft = following.reset == Reset.SOFT
            may_stop = settings.skip_silent & following.final_when_zero
            ends = fires & ~slow & following.last
            amplitudes = range(SPIKE_BITS)
            return [
                entry.eq(following),
                *compare_with(following.threshold),
                first_cycle.eq(1),
                after_fire.eq(0),
                kind.soft.eq(soft),
                kind.hard.eq((following.reset == Reset.HARD) & ~clears),
                kind.clears.eq(clears),
                kind.leaks.eq(leaks),
                kind.slow.eq(slow),
                kind.may_stop.eq(may_stop),
                kind.may_reload.eq(clears & ~may_stop),
                phase.eq(0),
                phase.integrate.eq(~fires),
                phase.fire.eq(fires),
                phase.soft.eq(fires & soft),
                phase.completes.eq(fires & ~slow),
                *end(ends),
                kind.plus.eq(Cat(following.amplitude == k for k in amplitudes)),
                kind.minus.eq(Cat(following.amplitude <= k for k in amplitudes)),
            ]

        # The load is one table behind registers, and only what must wait for it does: what comes
        # next is taken in every cycle that may be a group's last, and means nothing while none is
        # active.
        ended = phase.ends
        m.d.comb += load.eq(waiting_valid & ended & ~(squares_busy & new_squares))

        with m.If(sent):
            with m.If(active):
                m.d.sync += [
                    first_cycle.eq(0),
                    stops.eq(0),
                    phase.eq(0),
                    phase.limit.eq(phase.integrate),
                    phase.fire.eq(phase.limit),
                    phase.soft.eq(phase.limit & kind.soft),
                    phase.shift.eq((phase.fire & kind.leaks) | (phase.shift & (left != 1))),
                    phase.subtract.eq(phase.shift & (left == 1)),
                    phase.settle.eq(settles),
                    phase.completes.eq(completes),
                    *end(completes & entry.last),
                    after_fire.eq(phase.fire),
                    left.eq(Mux(phase.fire, entry.leak, left - 1)),
                ]
            with m.If(step):
                m.d.sync += [
                    ahead.eq(ahead + 1),
                    stops.eq(kind.may_stop),
                    *begin(following, reloads),
                ]
            with m.If(stop):
                m.d.sync += [active.eq(0), stops.eq(0), *end(Const(1))]
            with m.If(ended):
                first = Signal(STEP.layout())
                m.d.comb += first.eq(first_port.data)
                m.d.sync += [
                    active.eq(load),
                    ahead.eq(following_start + 1),
                    stops.eq(0),
                    *begin(first, 0),
                ]
                with m.If(single):
                    m.d.sync += [entry.eq(0), entry.last.eq(1), kind.eq(0), *compare_with(-1)]
                    m.d.sync += [phase.eq(0), phase.fire.eq(1)]
                    m.d.sync += [phase.completes.eq(1), *end(Const(1))]
                with m.If(~load):
                    m.d.sync += end(Const(1))
            with m.If(~inside):
                m.d.sync += [
                    codes.eq(waiting.codes),
                    squared.eq(waiting.squares),
                    exponent.eq(waiting.exponent),
                    place.eq(waiting.place),
                ]
        # Two steps ahead: the memory takes a cycle, and the register `entry` another.
        self._follow(m, schedule, following, sent & (step | ended), turns, following_start, ahead)

        # A step of several cycles leaves its spikes in the output register until it is complete.
        tile_end = (entry.last | stop) & place.end
        complete = step | stop
        payload = self.steps.payload
        # That a step has spikes is seen behind the registers: they come late in their cycle.
        offered = Signal()
        m.d.comb += self.steps.valid.eq(offered & (payload.fired.any() | payload.place.end))
        with m.If(sent):
            m.d.sync += offered.eq(complete)
            # Where a step begins with another cycle than its fire nothing is lost, and a stop,
            # which comes late in its cycle, has no spikes: all potentials are 0.
            with m.If(phase.fire | first_cycle):
                m.d.sync += [
                    payload.fired.eq(fired),
                    payload.negative.eq(negative),
                    payload.amplitude.eq(entry.amplitude),
                    payload.place.eq(place),
                ]
            m.d.sync += payload.place.end.eq(tile_end)

        with m.If(sent & load & waiting.squares):
            m.d.sync += squares_busy.eq(1)
        with m.Elif(self.squares.valid & self.squares.ready):
            m.d.sync += squares_busy.eq(0)
        m.submodules.sum = sum_of_squares = SumOfSquares(c)
        connect(m, sum_of_squares.squares, flipped(self.squares))
        m.d.comb += [
            sum_of_squares.valid.eq(sent & active & squared),  # a cycle without a fire adds 0
            sum_of_squares.spikes.fired.eq(Mux(phase.fire, fired, 0)),
            sum_of_squares.spikes.negative.eq(negative),
            sum_of_squares.spikes.amplitude.eq(entry.amplitude),
            sum_of_squares.spikes.codes.eq(codes),
            sum_of_squares.spikes.exponent.eq(exponent),
            sum_of_squares.spikes.end.eq(complete & tile_end),
        ]
        return m

    def _schedule(self, m: Module) -> Memory:
        """The schedule memory: thresholds are kept negated, and the last entry is a `last` one."""
        m.submodules.schedule = schedule = Memory(
            shape=unsigned(STEP.layout().size),
            depth=SCHEDULE_STEPS,
            init=[_stored(*entry) for entry in enumerate(self._contents.of(Space.SCHEDULE))],
            attrs=table_style(self.c.spare_blocks),
        )
        word, entry = Signal(STEP.layout()), Signal(STEP.layout())
        m.d.comb += [
            word.eq(self.tables.data),
            entry.eq(word.as_value()),
            entry.threshold.eq(-word.threshold),
            entry.last.eq(word.last | (self.tables.address == SCHEDULE_STEPS - 1)),
        ]
        connect_tables(m, schedule.write_port(), self.tables, Space.SCHEDULE, entry)
        return schedule

    def _follow(self, m: Module, schedule: Memory, following, enable, turns, start, ahead) -> None:
        """following: in the cycle after `enable` the entry at `start`, if `turns`, or at `ahead`.

        Block RAM has its address chosen. Look-up tables are read twice and the entry is chosen: on
        the way to all of them a choice would take a wire more.
        """
        if self.c.spare_blocks:
            port = schedule.read_port(transparent_for=())
            m.d.comb += [
                port.en.eq(enable),
                port.addr.eq(Mux(turns, start, ahead)),
                following.eq(port.data),
            ]
            return
        # No multiplexer: Yosys' `share` would make one reading of both, with the address chosen.
        second, further = (schedule.read_port(domain="comb") for _ in range(2))
        taken = turns.replicate(len(second.data))
        m.d.comb += [second.addr.eq(start), further.addr.eq(ahead)]
        with m.If(enable):
            m.d.sync += following.eq((second.data & taken) | (further.data & ~taken))

    def _drive(self, m, drive, phase, entry, kind, reloads, after_fire) -> None:
        """The neurons' orders for this cycle of the step."""
        m.d.comb += [
            drive.integrate.eq(phase.integrate),
            drive.limit.eq(phase.limit),
            drive.soft.eq(phase.soft),
            drive.hard.eq(after_fire & kind.hard),
            drive.clear.eq(phase.fire & kind.clears),
            drive.reload.eq(phase.fire & reloads & ~drive.load),
            drive.shift.eq(phase.shift),
            drive.first_shift.eq(after_fire),
            drive.subtract.eq(phase.subtract),
            drive.plus.eq(kind.plus),
            drive.minus.eq(kind.minus),
        ]
