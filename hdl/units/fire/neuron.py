"""Neuron core: N EI-IF neurons step together through the firing schedule (golden.units.neuron)."""

from amaranth.hdl import Cat, EnableInserter, Module, Mux
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hdl.lib.shapes import settings_layout, table_write
from hdl.units.fire.group_registers import GroupRegisters
from hdl.units.fire.layouts import group_layout, step_layout
from hdl.units.fire.membrane import Membrane
from hdl.units.fire.schedule import ScheduleReader
from hdl.units.fire.squares import SumOfSquares, squares_layout
from hdl.units.fire.step_control import NEURONS_A_THRESHOLD, StepControl
from hdl.units.fire.step_output import StepOutput
from isa.configurations import Configuration
from isa.contents import EMPTY, Contents


class NeuronCore(Component):
    """Groups of N codes in, steps with spikes out; no cycle between groups of two steps or more.

    A step of a shipped schedule (soft or no reset, no leak or cleared potentials, integrating only
    from 0) takes one cycle; others take hdl.units.fire.step_control.step_cycles. That all
    potentials are zero is seen in the cycle after a step; a group that stops for it takes
    STOP_CYCLES more (1 where only a last step of one cycle is left), and sends its tile's end with
    a step of its own. While `steps` is not ready everything waits, whether a step is offered or
    not.

    Every group begins at the step it names and ends with a `last` one, so that schedules of
    several populations lie in the memory. A silent group is dropped while others step, unless its
    tile ends with it. Steps without spikes are not sent, except one with place.end. The
    schedules come through `tables` (space SCHEDULE) and may change while no group is in the core;
    one without a `last` step ends at entry 127.

    squares: for tiles whose groups set `squares`, the sum of sign * (code << amplitude) over all
    spikes, which is the sum of code**2 for every schedule whose spikes sum to the code. A further
    such tile waits while one is not taken.
    """

    LATENCY = GroupRegisters.LATENCY + StepControl.LATENCY + StepOutput.LATENCY
    """Cycles from a group's transfer, into an idle core, to the offer of a first step that takes
    one cycle."""

    GROUP_CYCLES = 2  # a group can be taken every so many cycles, however few steps it has
    STOP_CYCLES = 2  # what a group that stops early takes beyond its steps, or less

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

    def elaborate(self, platform) -> Module:
        m = Module()
        c = self.c
        schedule = ScheduleReader(c, self._contents)
        groups, control = GroupRegisters(c), StepControl(c.neuron_lanes)
        membranes = [Membrane() for _ in range(c.neuron_lanes)]
        output = StepOutput(c)
        m.submodules.schedule, m.submodules.groups = schedule, groups
        # Clock enable of all that steps: it stalls while `steps` is blocked. `ready` comes late, so
        # it enables registers only and has no part in what they become.
        sent = EnableInserter(self.steps.ready)
        m.submodules.control, m.submodules.output = sent(control), sent(output)
        for k, membrane in enumerate(membranes):
            m.submodules[f"membrane_{k}"] = sent(membrane)

        connect(m, flipped(self.tables), schedule.tables)
        connect(m, flipped(self.groups), groups.groups)
        connect(m, output.steps, flipped(self.steps))
        m.d.comb += [
            schedule.accept.eq(groups.accept),
            schedule.start.eq(self.groups.payload.start),
            schedule.enable.eq(self.steps.ready),
            schedule.between.eq(control.between_steps),
            schedule.advance.eq(control.advance),
            groups.enable.eq(self.steps.ready),
            groups.between.eq(control.between_groups),
            groups.load.eq(control.load),
            groups.squares_taken.eq(self.squares.valid & self.squares.ready),
            control.skip_silent.eq(self.settings.skip_silent),
            control.ready.eq(groups.ready),
            control.single.eq(groups.single),
            control.first.eq(schedule.first),
            control.following.eq(schedule.following),
            control.all_zero.eq(Cat(membrane.zero for membrane in membranes).all()),
        ]
        for k, membrane in enumerate(membranes):
            m.d.comb += [
                membrane.drive.eq(control.drive),
                membrane.below.eq(control.thresholds[k // NEURONS_A_THRESHOLD]),
                membrane.code.eq(groups.present.codes[k]),
                membrane.next_code.eq(groups.waiting.codes[k]),
                membrane.fired_before.eq(self.steps.payload.fired[k]),
                output.fired[k].eq(membrane.fired),
                output.negative[k].eq(membrane.negative),
            ]
        m.d.comb += [
            output.spikes.eq(control.fires | control.begins),
            output.amplitude.eq(control.entry.amplitude),
            output.place.eq(groups.present.place),
            output.complete.eq(control.advance | control.stop),
            output.tile_end.eq((control.entry.last | control.stop) & groups.present.place.end),
        ]
        self._sum_up(m, groups, control, output)
        return m

    def _sum_up(self, m: Module, groups: GroupRegisters, control: StepControl,
                output: StepOutput) -> None:  # fmt: skip
        """The sum of squares, from the same spikes. It takes a step a cycle and never stalls."""
        m.submodules.sum = total = SumOfSquares(self.c)
        connect(m, total.squares, flipped(self.squares))
        present, spikes = groups.present, total.spikes
        m.d.comb += [
            # A cycle without a fire adds 0.
            total.valid.eq(self.steps.ready & control.active & present.squares),
            spikes.fired.eq(Mux(control.fires, output.fired, 0)),
            spikes.negative.eq(output.negative),
            spikes.amplitude.eq(control.entry.amplitude),
            spikes.codes.eq(present.codes),
            spikes.exponent.eq(present.exponent),
            spikes.end.eq(output.complete & output.tile_end),
        ]
