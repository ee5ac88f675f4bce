"""Whether a model fits a configuration: the longest context that does, or what is missing."""

from golden.quantisation.quantise import QuantisedModel
from host.compiler.layout import Layout
from isa.configurations import CONFIGURATIONS, Configuration
from isa.errors import SpikeletError

MINIMUM_CONTEXT = 8


def missing(layout: Layout, program: int = 0) -> list[str]:
    """What the configuration has too little of: 'row_depth 2000 (it has 1536)', ..."""
    c = layout.shapes.c
    needs = layout.needs | {"program_depth": program}
    return [
        f"{name} {need} (it has {getattr(c, name)})"
        for name, need in needs.items()
        if need > getattr(c, name)
    ]


def choose(
    q: QuantisedModel, c: Configuration, weights: str, context: int | None, bound: int = 0
) -> Layout:
    """The layout with the largest context that fits, or with the one asked for.

    `bound`: the largest |accumulator| that the model's maps can give, as far as it is known.

    Raises:
        SpikeletError: nothing fits; names the sizes that are missing and who has them.
    """
    wanted = context or min(q.config.context, c.context)
    step = c.vector_lanes
    for positions in [wanted] if context else range(wanted, 0, -step):
        layout = Layout.of(q, c, positions, weights, bound)
        short = missing(layout)
        if not short and (context or positions >= min(MINIMUM_CONTEXT, wanted)):
            return layout
    layout = Layout.of(q, c, context or min(MINIMUM_CONTEXT, wanted), weights, bound)
    raise unfit(q, layout, missing(layout), context, bound)


def unfit(
    q: QuantisedModel, layout: Layout, short: list[str], context: int | None, bound: int,
    program: int = 0,
) -> SpikeletError:  # fmt: skip
    """The error that says which sizes are missing and which configuration has them.

    program: instructions, where it is known how many there are.
    """
    c, weights = layout.shapes.c, layout.source

    def holds(other: Configuration, weights: str) -> bool:
        least = Layout.of(q, other, context or MINIMUM_CONTEXT, weights, bound)
        return not missing(least, program)

    others = [other for other in CONFIGURATIONS.values() if other is not c]
    elsewhere = [w for w in ("external", "streamed") if w != weights]
    hints = [f"--config {other.name}" for other in others if holds(other, weights)]
    hints += [f"--weights {w}" for w in elsewhere if holds(c, w)]
    if not hints:
        hints = [f"--config {o.name} --weights {w}" for w in elsewhere for o in others
                 if holds(o, w)]
    hint = f"use {' or '.join(hints)}" if hints else "no configuration holds it"
    return SpikeletError(
        f"the model does not fit the configuration '{c.name}': it needs {', '.join(short)}; {hint}"
    )
