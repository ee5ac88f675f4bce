"""Firing schedules of the EI-IF neuron core: one entry a time step, loaded from the image.

Schedule memory holds several, one after the other; FIRE names the entry where its own begins.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from isa.formats import CODE, CODE_PHASES, POTENTIAL, SCHEDULE_STEPS
from isa.record import Field, Record


class Population(StrEnum):
    """Neurons that share one firing schedule: what the spikes of a FIRE instruction go into."""

    attention = "attention"  # scores and mix: queries and probabilities
    qkv = "qkv"
    out = "out"
    gated = "gated"  # gate and up
    down = "down"
    head = "head"


LEAK_NONE = 0
LEAK_CLEAR = 15  # the membrane potential is cleared: attenuation rate 1 of the paper


class Reset(IntEnum):
    NONE = 0
    SOFT = 1  # subtract the spike's amplitude
    HARD = 2  # clear the potential of a neuron that fired


STEP = Record(
    "step",
    "One time step of the firing schedule (schedule memory, one word a step).",
    (
        Field("threshold", POTENTIAL.bits - 1, "fires where |V| reaches it, 1..32767"),
        Field("amplitude", 3, "the spike stands for 2**amplitude"),
        Field("leak", 4, "V -= V >> leak after the reset; 0: none; 15: clear"),
        Field("reset", 2, "0 none, 1 soft (subtract the amplitude), 2 hard (to zero)"),
        Field("integrate", 1, "add the input current before comparing"),
        Field("final_when_zero", 1, "a group whose potentials are all zero after it may stop"),
        Field("last", 1, "the schedule's last step"),
    ),
)


@dataclass(frozen=True)
class Step:
    threshold: int
    amplitude: int = 0
    leak: int = LEAK_NONE
    reset: Reset = Reset.NONE
    integrate: bool = False
    final_when_zero: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.threshold <= POTENTIAL.maximum:
            raise ValueError(f"threshold {self.threshold} is not in 1..{POTENTIAL.maximum}")
        if not 0 <= self.amplitude < 8:
            raise ValueError(f"amplitude exponent {self.amplitude} is not in 0..7")
        if not 0 <= self.leak <= LEAK_CLEAR:
            raise ValueError(f"leak {self.leak} is not in 0..{LEAK_CLEAR}")


@dataclass(frozen=True)
class Schedule:
    """Steps in order, and where to start for a group whose largest |code| has b bits.

    start[b] (b = 0..7) skips leading steps in which no neuron of such a group can fire. With
    `skip_silent`, a group of zero codes is skipped whole and a step marked `final_when_zero` ends
    a group whose potentials are all zero. Both only save time; they never change a sum.
    """

    name: str
    steps: tuple[Step, ...]
    start: tuple[int, ...] = (0,) * CODE.bits
    skip_silent: bool = True

    def __post_init__(self) -> None:
        if not 1 <= len(self.steps) <= SCHEDULE_STEPS:
            raise ValueError(f"a schedule has 1..{SCHEDULE_STEPS} steps, not {len(self.steps)}")
        if len(self.start) != CODE.bits or max(self.start) >= len(self.steps):
            raise ValueError("the start table has 8 entries, each the index of a step")

    def words(self) -> list[int]:
        """The entries of the schedule memory, packed."""
        last = len(self.steps) - 1
        return [
            STEP.pack(
                threshold=s.threshold, amplitude=s.amplitude, leak=s.leak, reset=int(s.reset),
                integrate=int(s.integrate), final_when_zero=int(s.final_when_zero),
                last=int(i == last),
            )
            for i, s in enumerate(self.steps)
        ]  # fmt: skip


# The thresholds of the non-adjacent form, phases 7..0: the lowest with which a code arrives whole.
EXACT_THRESHOLDS = tuple((1 << (k + 1)) // 3 + 1 for k in reversed(range(CODE_PHASES)))


def phase_schedule(thresholds: Sequence[int] = EXACT_THRESHOLDS, name: str = "phase") -> Schedule:
    """Eight signed phases, largest amplitude first: the non-adjacent form of the code.

    Higher thresholds (phases 7..0, trained by plasticity) fire fewer spikes for most codes and lose
    what stays in the membrane. A group begins charged with its codes, so no step integrates.

    Raises:
        ValueError: not eight thresholds, or one that is lower than the non-adjacent form's (the
            start table would skip steps that are not silent) or does not fit the step.
    """
    if len(thresholds) != CODE_PHASES:
        raise ValueError(f"a phase schedule has {CODE_PHASES} thresholds, not {len(thresholds)}")
    if any(t < least for t, least in zip(thresholds, EXACT_THRESHOLDS, strict=True)):
        raise ValueError(f"thresholds {tuple(thresholds)} are lower than {EXACT_THRESHOLDS}")
    steps = tuple(
        Step(threshold=threshold, amplitude=k, reset=Reset.SOFT, final_when_zero=True)
        for k, threshold in zip(reversed(range(CODE_PHASES)), thresholds, strict=True)
    )
    # |code| < 2**b cannot reach the threshold of phase b + 1 or above, and for b = 1 not of 1.
    start = tuple(CODE_PHASES - 1 - (b if b > 1 else 0) for b in range(CODE.bits))
    return Schedule(name, steps, start)


def unary_schedule() -> Schedule:
    """The paper's setting: theta(t) = 0.5 + t, amplitude 1, the potential cleared every step.

    On integer codes |V| >= t + 0.5 is |V| >= t + 1. A thermometer: |code| spikes, one a step.
    The first step's input is what the group begins charged with; the others integrate it again.
    """
    steps = tuple(
        Step(threshold=t + 1, amplitude=0, leak=LEAK_CLEAR, integrate=t > 0)
        for t in range(CODE.maximum)
    )
    return Schedule("unary", steps)


SCHEDULES = {"phase": phase_schedule, "unary": unary_schedule}
