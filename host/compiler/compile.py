"""The compiler: a quantised model becomes the image and program of one device configuration.

Its passes, each in a file of its own: graph (the maps by name), layout (where everything lies),
program (what the device does), emit (the arrays of the image). host/compiler/plan.py runs all but
the last, which takes the integers.
"""

import itertools

import numpy as np

from golden.quantisation.quantise import QuantisedModel
from host.compiler.emit import Assembly
from host.compiler.graph import accumulator_bound
from host.compiler.plan import plan
from isa.configurations import Configuration
from isa.image import Image


def compile_model(
    q: QuantisedModel,
    c: Configuration,
    weights: str = "resident",
    schedule: str = "phase",
    context: int | None = None,
    end_token: int | None = None,
) -> Image:
    """The image of a model for one configuration.

    Args:
        weights: "resident" puts all weights into row memory, "external" into external memory,
            "streamed" has the host send them.
        schedule: "phase", the model's own schedules (phases with each population's thresholds),
            or "unary" for all populations (isa/schedule.py).
        context: positions to make room for; by default as many as fit, at most the model's.
        end_token: generation stops at this token.

    Raises:
        SpikeletError: the configuration is too small; the text says what is missing.
    """
    bound = accumulator_bound(q)
    assembly = Assembly(plan(q, c, weights, schedule, context, end_token, bound))
    arrays = [np.empty(words.shape, np.uint32) for words in assembly.image().arrays()]
    layers = (assembly.layer(n, layer) for n, layer in enumerate(q.layers))
    for index, first, words in itertools.chain(
        assembly.embedding(q.embedding), *layers, assembly.head(q.head), assembly.constants()
    ):
        arrays[index].reshape(-1)[first : first + words.size] = words
    return assembly.image(arrays)
