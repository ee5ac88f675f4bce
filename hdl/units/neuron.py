"""Neuron core: N EI-IF neurons step together through the firing schedule (golden.units.neuron)."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.data import ArrayLayout, StructLayout
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hdl.lib.arithmetic import saturate
from hdl.lib.shapes import settings_layout, table_write
from hdl.memory.rows import ROW_ADDRESS_BITS
from hdl.memory.style import style
from isa.configurations import Configuration
from isa.contents import EMPTY, Contents
from isa.formats import CODE, EXPONENT, POTENTIAL, SCHEDULE_STEPS
from isa.packets import Space
from isa.schedule import LEAK_CLEAR, STEP, Reset

SQUARES_BITS = 32
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


def squares_layout() -> StructLayout:
    """Sum over a vector of code**2, and the codes' exponent."""
    return StructLayout({"sum": unsigned(SQUARES_BITS), "exponent": signed(EXPONENT.bits)})


class NeuronCore(wiring.Component):
    """Groups of N codes in, steps with spikes out; one step a cycle, no cycle between groups.

    Every group begins at the step it names and ends with a `last` one, so that schedules of
    several populations lie in the memory. A silent group is dropped while others step, unless its
    tile ends with it. Steps without spikes are not sent, except a last one with place.end. The
    schedules come through `tables` (space SCHEDULE) and may change while no group is in the core;
    one without a `last` step ends at entry 127.

    squares: for tiles whose groups set `squares`, the sum of sign * (code << amplitude) over all
    spikes, which is the sum of code**2 for every schedule whose spikes sum to the code. It comes
    3 cycles after the tile's last step; a further such tile waits while one is not taken.
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

        m.submodules.schedule = schedule = Memory(
            shape=unsigned(STEP.bits), depth=SCHEDULE_STEPS, attrs=style(SCHEDULE_STEPS),
            init=[step & ((1 << STEP.bits) - 1) for step in self._contents.of(Space.SCHEDULE)],
        )
        write_port = schedule.write_port()
        m.d.comb += [
            write_port.en.eq(self.tables.enable & (self.tables.space == Space.SCHEDULE)),
            write_port.addr.eq(self.tables.address),
            write_port.data.eq(self.tables.data),
        ]
        first_port = schedule.read_port(transparent_for=())
        following_port = schedule.read_port(transparent_for=())

        # The next group waits here while its first step is read from the schedule.
        waiting = Signal(group_layout(c))
        waiting_valid = Signal()
        single = Signal()  # the waiting group takes one step that is not in the schedule
        load = Signal()  # it begins in the next cycle

        group = self.groups.payload
        accept = self.groups.valid & self.groups.ready
        m.d.comb += [
            self.groups.ready.eq(~waiting_valid | load),
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
        potentials = [Signal(signed(POTENTIAL.bits), name=f"potential_{k}") for k in range(lanes)]

        fired, negative = Signal(lanes), Signal(lanes)
        after = [Signal(signed(POTENTIAL.bits), name=f"after_{k}") for k in range(lanes)]
        for k in range(lanes):
            m.d.comb += _step(m, k, potentials[k], codes[k], entry, fired[k], negative[k], after[k])

        sent = self.steps.ready | ~self.steps.valid
        step, finish = Signal(), Signal()
        zero = ~Cat(v.any() for v in after).any()
        m.d.comb += [
            step.eq(active & sent),
            finish.eq(
                entry.last
                | (settings.skip_silent & entry.final_when_zero & zero)
                | (pointer == SCHEDULE_STEPS - 1)
            ),
        ]
        squares_busy = Signal()
        tile_start = Signal(init=1)
        hold = squares_busy & waiting.squares & Mux(active, place.end, tile_start)
        m.d.comb += load.eq(waiting_valid & (~active | (step & finish)) & ~hold)

        with m.If(step):
            m.d.sync += [pointer.eq(pointer + 1), entry.eq(following_port.data)]
            m.d.sync += [p.eq(v) for p, v in zip(potentials, after, strict=True)]
            with m.If(finish):
                m.d.sync += [active.eq(0), tile_start.eq(place.end)]
        with m.If(load):
            m.d.sync += [
                active.eq(1),
                pointer.eq(waiting.start),
                entry.eq(first_port.data),
                codes.eq(waiting.codes),
                squared.eq(waiting.squares),
                exponent.eq(waiting.exponent),
                place.eq(waiting.place),
            ]
            m.d.sync += [p.eq(code) for p, code in zip(potentials, waiting.codes, strict=True)]
            with m.If(single):
                m.d.sync += [entry.eq(0), entry.threshold.eq(1), entry.last.eq(1)]
        # Two steps ahead: the memory takes a cycle, and the register `entry` another.
        m.d.comb += [
            following_port.en.eq(step | load),
            following_port.addr.eq(Mux(load, waiting.start + 1, pointer + 2)),
        ]

        tile_end = finish & place.end
        with m.If(sent):
            m.d.sync += self.steps.valid.eq(active & (fired.any() | tile_end))
            m.d.sync += [
                self.steps.payload.fired.eq(fired),
                self.steps.payload.negative.eq(negative),
                self.steps.payload.amplitude.eq(entry.amplitude),
                self.steps.payload.place.eq(place),
                self.steps.payload.place.end.eq(tile_end),
            ]

        with m.If(load & waiting.squares):
            m.d.sync += squares_busy.eq(1)
        with m.Elif(self.squares.valid & self.squares.ready):
            m.d.sync += squares_busy.eq(0)
        self._sum_squares(
            m, step & squared, fired, negative, entry.amplitude, codes, exponent, tile_end
        )
        return m

    def _sum_squares(self, m, step, fired, negative, amplitude, codes, exponent, end) -> None:
        """Adds up sign * code of every spike, then shifts, then accumulates: three stages."""
        sum_bits = CODE.bits + (self.c.neuron_lanes - 1).bit_length()
        total_bits = SQUARES_BITS + 2  # spikes of either sign pass the final sum on their way
        valid, last = Signal(2), Signal(2)
        m.d.sync += [valid.eq(Cat(step, valid)), last.eq(Cat(end, last))]
        terms = Signal(ArrayLayout(signed(CODE.bits), self.c.neuron_lanes))
        shifts = [Signal(3, name=f"squares_amplitude_{k}") for k in range(2)]
        m.d.sync += [shifts[0].eq(amplitude), shifts[1].eq(shifts[0])]
        for lane in range(self.c.neuron_lanes):
            code = codes[lane]
            m.d.sync += terms[lane].eq(
                Mux(fired[lane], Mux(negative[lane], -code, code), 0)
            )
        spikes_sum = Signal(signed(sum_bits))
        m.d.sync += spikes_sum.eq(sum(terms))
        total = Signal(signed(total_bits))
        fresh = Signal(init=1)  # nothing of this tile is in total
        following = Signal(signed(total_bits))
        m.d.comb += following.eq(Mux(fresh, 0, total) + (spikes_sum << shifts[1]))
        with m.If(valid[1]):
            m.d.sync += [total.eq(following), fresh.eq(last[1])]
            with m.If(last[1]):
                m.d.sync += self.squares.payload.sum.eq(following)
        exponents = [Signal(signed(EXPONENT.bits), name=f"squares_exponent_{k}") for k in range(2)]
        m.d.sync += [exponents[0].eq(exponent), exponents[1].eq(exponents[0])]
        with m.If(valid[1] & last[1]):
            m.d.sync += [self.squares.valid.eq(1), self.squares.payload.exponent.eq(exponents[1])]
        with m.Elif(self.squares.ready):
            m.d.sync += self.squares.valid.eq(0)


def _step(m, lane, potential, code, entry, fired, negative, after) -> list:
    """Assignments of one neuron's step: golden.units.neuron.step, potentials symmetric in 16 bits.

    Only integration can overflow: a spike's amplitude is taken from a potential of its sign, and
    a leak goes towards zero.
    """
    current = Signal(signed(POTENTIAL.bits + 1), name=f"current_{lane}")
    charged = Signal(signed(POTENTIAL.bits), name=f"charged_{lane}")
    reset = Signal(signed(POTENTIAL.bits), name=f"reset_{lane}")
    amplitude = Signal(signed(9), name=f"amplitude_{lane}")
    above = charged >= entry.threshold
    below = charged <= -entry.threshold
    m.d.comb += amplitude.eq(1 << entry.amplitude)
    with m.Switch(entry.reset):
        with m.Case(Reset.SOFT):
            spike = Mux(negative, -amplitude, amplitude)
            m.d.comb += reset.eq(charged - Mux(fired, spike, 0))
        with m.Case(Reset.HARD):
            m.d.comb += reset.eq(Mux(fired, 0, charged))
        with m.Default():
            m.d.comb += reset.eq(charged)
    with m.Switch(entry.leak):
        with m.Case(0):
            m.d.comb += after.eq(reset)
        with m.Case(LEAK_CLEAR):
            m.d.comb += after.eq(0)
        with m.Default():
            m.d.comb += after.eq(reset - (reset >> entry.leak))
    return [
        current.eq(potential + code),
        charged.eq(Mux(entry.integrate, saturate(current, POTENTIAL.bits)[0], potential)),
        fired.eq(above | below),
        negative.eq(below),
    ]
