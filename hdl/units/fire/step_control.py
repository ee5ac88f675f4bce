"""The cycles of a step: which of golden.units.neuron's equations the neurons carry out when."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import Component, In, Out

from hdl.lib.copies import Replicated
from hdl.units.fire.membrane import SPIKE_BITS, drive_layout
from isa.schedule import LEAK_CLEAR, LEAK_NONE, STEP, Reset, Step

NEURONS_A_THRESHOLD = 4  # that compare with one copy of it: more are far apart


def phase_layout() -> StructLayout:
    """The cycle of a step: at most one of the first five. Without one the potentials hold, but for
    what a hard reset of the cycle before does."""
    names = ("integrate", "limit", "fire", "shift", "subtract")
    flags = ("soft", "completes")  # a fire of a step with a soft reset; the step's last cycle
    return StructLayout(dict.fromkeys((*names, *flags), unsigned(1)))


def kind_layout() -> StructLayout:
    """What an entry of the schedule means; `decoded` says how."""
    flags = ("soft", "hard", "clears", "leaks", "slow", "may_stop", "may_reload")
    spike = dict.fromkeys(("plus", "minus"), unsigned(SPIKE_BITS))
    return StructLayout({**dict.fromkeys(flags, unsigned(1)), **spike})


def decoded(entry, skip_silent) -> dict[str, Value]:
    """The fields of kind_layout for an entry of the schedule."""
    clears = entry.leak == LEAK_CLEAR
    leaks = (entry.leak != LEAK_NONE) & ~clears
    resets = entry.reset == Reset.HARD
    may_stop = skip_silent & entry.final_when_zero
    amplitudes = range(SPIKE_BITS)
    return {
        "soft": entry.reset == Reset.SOFT,
        "hard": resets & ~clears,
        "clears": clears,
        "leaks": leaks,
        "slow": leaks | resets,  # the step goes on behind its fire
        "may_stop": may_stop,  # the group, when all potentials are zero
        # A step that integrates begins from 0 behind one that clears: its potential is the code.
        "may_reload": clears & ~may_stop,
        "plus": Cat(entry.amplitude == k for k in amplitudes),  # 2**amplitude
        "minus": Cat(entry.amplitude <= k for k in amplitudes),  # -2**amplitude
    }


def step_cycles(step: Step, reloaded: bool = False) -> int:
    """The cycles that a step takes. `reloaded`: it integrates, and the step before clears and is
    not one that may stop."""
    integration = 2 if step.integrate and not reloaded else 0
    leaks = step.leak not in (LEAK_NONE, LEAK_CLEAR)
    rest = step.leak + 2 if leaks else int(step.reset is Reset.HARD)
    return integration + 1 + rest


class StepControl(Component):
    """Takes a group through its steps, each in the cycles that its entry needs:

        integrate, limit         V <- saturated V + code, unless the step before has reloaded V
        fire                     S <- spikes of V; V <- V - S * 2**amplitude, 0 (clears), or the
                                 code (clears, and the next step integrates)
        the cycle behind a fire  V <- 0 where S != 0, if the reset is hard
        shift, leak times        V >> leak
        subtract                 V <- V - (V >> leak)
        a last cycle without an order, behind a hard reset or a leak

    In:
    ready       a group waits whose first entry is `first`; with `single`, its only step compares
                with 1 and changes nothing
    following   the entry behind the step under way
    all_zero    the potentials are 0: looked at in the first cycle behind a step that may stop

    Out:
    between     the next cycle is no further step of the group under way: a group may begin (a
                copy for the registers of groups, one for the schedule memory)
    load        with it: one does
    active      a group is under way, and of it `entry`, the step, and `thresholds`, for
                NEURONS_A_THRESHOLD neurons each, negated
    advance     the step's last cycle;   stop    the group ends, as all potentials are 0
    fires       the cycle of a fire;     begins  the first cycle of a step
    drive       the neurons' orders

    The whole unit is meant to stand behind the neurons' clock enable. Timing: all decisions about
    a cycle come out of registers that were written in the cycle before; only `load` and `stop`
    come late, and only what must wait for them does.
    """

    LATENCY = 1  # cycles from `load` to the first cycle of the group's first step

    def __init__(self, neurons: int) -> None:
        copies = -(-neurons // NEURONS_A_THRESHOLD)
        super().__init__(
            {
                "skip_silent": In(1),
                "ready": In(1),
                "single": In(1),
                "first": In(STEP.layout()),
                "following": In(STEP.layout()),
                "all_zero": In(1),
                "between_groups": Out(1),
                "between_steps": Out(1),
                "load": Out(1),
                "active": Out(1),
                "entry": Out(STEP.layout()),
                "thresholds": Out(STEP.layout()["threshold"].shape).array(copies),
                "advance": Out(1),
                "stop": Out(1),
                "fires": Out(1),
                "begins": Out(1),
                "drive": Out(drive_layout()),
            }
        )
        self._phase = Signal(phase_layout())
        self._kind = Signal(kind_layout())
        # Whether a group may begin in the next cycle has readers all over the core.
        self._between = Replicated(
            1, ("between", "between_for_groups", "between_for_schedule"), init=1
        )
        self._thresholds = Replicated(
            STEP.layout()["threshold"].shape, [f"threshold_{k}" for k in range(copies)]
        )
        self._after_fire = Signal()
        self._stops = Signal()  # the group, if all potentials are zero in this cycle

    def elaborate(self, platform) -> Module:
        m = Module()
        phase, kind, between = self._phase, self._kind, self._between
        reloads = kind.may_reload & self.following.integrate
        m.d.comb += [
            self.between_groups.eq(between[1]),
            self.between_steps.eq(between[2]),
            self.load.eq(self.ready & between[0]),
            self.advance.eq(self.active & phase.completes),
            self.stop.eq(self._stops & self.all_zero),
            self.fires.eq(phase.fire),
            *(port.eq(self._thresholds[k]) for k, port in enumerate(self.thresholds)),
        ]
        self._order(m, reloads)
        # The later of these counts. What comes next is taken in every cycle that may be a group's
        # last one, and means nothing while none is active.
        with m.If(self.active):
            self._continue_step(m)
        with m.If(self.advance):
            m.d.sync += [self._stops.eq(kind.may_stop), *self._begin(self.following, reloads)]
        with m.If(self.stop):
            m.d.sync += [self.active.eq(0), self._stops.eq(0), *between.eq(1)]
        with m.If(between[0]):
            m.d.sync += [
                self.active.eq(self.load),
                self._stops.eq(0),
                *self._begin(self.first, 0),
            ]
            with m.If(self.single):
                m.d.sync += self._begin_single()
            with m.If(~self.load):
                m.d.sync += between.eq(1)
        return m

    def _order(self, m: Module, reloads) -> None:
        """The neurons' orders for this cycle of the step."""
        phase, kind = self._phase, self._kind
        load = self._between[1]
        m.d.comb += [
            self.drive.load.eq(load),
            self.drive.integrate.eq(phase.integrate),
            self.drive.limit.eq(phase.limit),
            self.drive.soft.eq(phase.soft),
            self.drive.hard.eq(self._after_fire & kind.hard),
            self.drive.clear.eq(phase.fire & kind.clears),
            self.drive.reload.eq(phase.fire & reloads & ~load),
            self.drive.shift.eq(phase.shift),
            self.drive.first_shift.eq(self._after_fire),
            self.drive.subtract.eq(phase.subtract),
            self.drive.plus.eq(kind.plus),
            self.drive.minus.eq(kind.minus),
        ]

    def _continue_step(self, m: Module) -> None:
        """From one cycle of a step to the next, as if it were not the last."""
        phase, kind, entry = self._phase, self._kind, self.entry
        left = Signal(entry.leak.shape())  # shifts, with the one under way
        last_shift = left == 1
        settles = (phase.fire & kind.slow & ~kind.leaks) | phase.subtract
        completes = settles | (phase.limit & ~kind.slow)
        m.d.sync += [
            self.begins.eq(0),
            self._stops.eq(0),
            phase.integrate.eq(0),
            phase.limit.eq(phase.integrate),
            phase.fire.eq(phase.limit),
            phase.soft.eq(phase.limit & kind.soft),
            phase.shift.eq((phase.fire & kind.leaks) | (phase.shift & ~last_shift)),
            phase.subtract.eq(phase.shift & last_shift),
            phase.completes.eq(completes),
            *self._between.eq(completes & entry.last),
            self._after_fire.eq(phase.fire),
            left.eq(Mux(phase.fire, entry.leak, left - 1)),
        ]

    def _begin(self, entry, charged) -> list:
        """The first cycle of a step; `charged`: it has integrated already."""
        phase = self._phase
        kind = decoded(entry, self.skip_silent)
        fires = ~entry.integrate | charged
        return [
            self.entry.eq(entry),
            *self._thresholds.eq(entry.threshold),
            *(self._kind[name].eq(value) for name, value in kind.items()),
            self.begins.eq(1),
            self._after_fire.eq(0),
            phase.eq(0),
            phase.integrate.eq(~fires),
            phase.fire.eq(fires),
            phase.soft.eq(fires & kind["soft"]),
            phase.completes.eq(fires & ~kind["slow"]),
            *self._between.eq(fires & ~kind["slow"] & entry.last),
        ]

    def _begin_single(self) -> list:
        """The one step of a group that fires at once: codes of 1 do, others are 0."""
        phase = self._phase
        return [
            self.entry.eq(0),
            self.entry.last.eq(1),
            self._kind.eq(0),
            *self._thresholds.eq(-1),
            phase.eq(0),
            phase.fire.eq(1),
            phase.completes.eq(1),
            *self._between.eq(1),
        ]
