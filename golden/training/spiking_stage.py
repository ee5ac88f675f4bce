"""Stage 2: quantisers become EI-IF neurons, and every logit stays what it was.

Nothing is trained here. `compare` shows that the spiking model has the quantised model's integers.
"""

from dataclasses import dataclass

import torch

from golden.checkpoints.checkpoint import Checkpoint
from golden.quantisation.network import QuantisedNetwork
from golden.quantisation.quantise import QuantisedModel
from golden.spiking_model.model import SpikingModel
from isa.errors import SpikeletError
from isa.schedule import Schedule


@dataclass(frozen=True)
class Comparison:
    """The quantised model's logits against a spiking model's, integer by integer."""

    schedule: str
    logits: int
    different: int
    first: tuple[int, int] | None  # position and token of the first logit that differs
    spikes: int  # fired by the neurons, all operators


def compare(checkpoint: Checkpoint, integers: QuantisedModel, ids: torch.Tensor,
            schedule: Schedule | None) -> Comparison:
    """Runs a sequence (T,) through both and compares all logits.

    Args:
        schedule: the EI-IF neurons' program, stepped in time; None sums codes at once.

    Raises:
        SpikeletError: a sequence longer than the context.
    """
    if len(ids) > checkpoint.config.context:
        raise SpikeletError(f"{len(ids)} tokens are more than the context of "
                            f"{checkpoint.config.context}: compare fewer")
    quantised = QuantisedNetwork(checkpoint, integers.fraction)
    wanted = quantised(ids).to(torch.int64)
    spiking = SpikingModel(integers, schedule)
    found = spiking.forward(ids)
    different = (wanted != found).nonzero()
    first = tuple(different[0].tolist()) if len(different) else None
    fired = getattr(spiking.gathers, "fired", 0)
    return Comparison(schedule.name if schedule else "codes at once", wanted.numel(),
                      len(different), first, fired)
