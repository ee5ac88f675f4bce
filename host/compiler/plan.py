"""All passes but the last: what follows from a model's shapes, before its integers are there."""

from dataclasses import dataclass

from golden.quantisation.quantise import QuantisedModel
from host.compiler.fit import choose, missing, unfit
from host.compiler.hazards import Hazards
from host.compiler.instructions import Program
from host.compiler.layout import Layout
from host.compiler.program import build
from host.compiler.schedules import Schedules, place_schedules
from host.compiler.settings import settings
from isa.configurations import Configuration
from isa.errors import SpikeletError

WEIGHTS = ("resident", "streamed", "external")


@dataclass(frozen=True)
class Plan:
    """A model on a configuration, ready to take its integers.

    model: its maps do not matter. bound: the largest accumulator, as far as it is known; layout:
    where everything lies; wanted_context: positions that were asked for, if any.
    """

    model: QuantisedModel
    layout: Layout
    schedule: str
    schedules: Schedules
    settings: dict[str, int]
    program: Program
    wanted_context: int | None
    bound: int


def plan(
    q: QuantisedModel, c: Configuration, weights: str = "resident", schedule: str = "phase",
    context: int | None = None, end_token: int | None = None, bound: int = 0,
) -> Plan:  # fmt: skip
    """Lays a model out and builds its program. Arguments are those of `compile_model`.

    Args:
        q: the model; its maps may be outlines (golden/quantisation/quantise.py `outline`).
        bound: the largest accumulator, as far as it is known.

    Raises:
        SpikeletError: the configuration is too small.
    """
    if weights not in WEIGHTS:
        raise SpikeletError("weights are 'resident', 'streamed' or 'external', not "
                            f"'{weights}'")
    schedules = place_schedules(q, schedule)
    layout = choose(q, c, weights, context, bound)
    values = settings(q, layout, end_token) | schedules.settings
    program = build(q, layout, schedules.first_step, Hazards(c, values))
    size = len(program.instructions)
    short = missing(layout, size)
    if short:
        raise unfit(q, layout, short, context, bound, size)
    return Plan(q, layout, schedule, schedules, values, program, context, bound)
