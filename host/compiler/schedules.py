"""Schedule memory: the firing schedules of all populations, one after the other."""

from dataclasses import dataclass

from golden.quantisation.quantise import QuantisedModel
from isa.errors import SpikeletError
from isa.formats import CODE, SCHEDULE_STEPS
from isa.schedule import SCHEDULES, Population, Schedule, phase_schedule


@dataclass(frozen=True)
class Schedules:
    """words: schedule memory's entries. first_step: where each population's schedule begins.
    settings: the start table and `skip_silent`, which all schedules share."""

    words: list[int]
    first_step: dict[Population, int]
    settings: dict[str, int]


def place_schedules(q: QuantisedModel, name: str) -> Schedules:
    """The model's own schedules, equal ones once, for "phase"; one for all populations otherwise.

    An earlier start and steps that are not skipped cost time only, so the shared start table has
    the earliest step of all schedules.

    Raises:
        SpikeletError: no such schedule, or the model's need more steps than the memory holds.
    """
    if name not in SCHEDULES:
        raise SpikeletError(f"there is no schedule '{name}': use {' or '.join(SCHEDULES)}")
    if name == "phase":
        own = {p: q.schedules.get(p, phase_schedule()) for p in Population}
    else:
        own = dict.fromkeys(Population, SCHEDULES[name]())
    words: list[int] = []
    placed: dict[tuple[int, ...], int] = {}
    first_step = {}
    for population, schedule in own.items():
        steps = tuple(schedule.words())
        if steps not in placed:
            placed[steps] = len(words)
            words += steps
        first_step[population] = placed[steps]
    if len(words) > SCHEDULE_STEPS:
        raise SpikeletError(
            f"the model's {len(placed)} firing schedules have {len(words)} steps together, the "
            f"schedule memory holds {SCHEDULE_STEPS}: use --schedule unary, or a model with fewer "
            "schedules"
        )
    every: list[Schedule] = list(own.values())
    settings = {f"start_{b}": min(s.start[b] for s in every) for b in range(CODE.bits)}
    settings["skip_silent"] = int(all(s.skip_silent for s in every))
    return Schedules(words, first_step, settings)
