"""The quantised BrainGPT: the float model's weights behind the quantisers of the spiking model.

Trained, it rounds what is coarse and lets gradients through (golden/quantisation/
straight_through.py). Evaluated, every step rounds as the device does (exact.py beside it): its
logits are the spiking model's integers.
"""

import torch
from torch import Tensor

from golden.checkpoints.checkpoint import Checkpoint
from golden.decoder import decode
from golden.float_model.model import FloatModel
from golden.quantisation.exact import ExactArithmetic
from golden.quantisation.quantise import DEFAULT_FRACTION, QuantisedModel, quantise
from golden.quantisation.responses import Fired, Responses
from golden.quantisation.straight_through import Observer, TrainingArithmetic


class QuantisedNetwork(FloatModel):
    """BrainGPT with quantisers, trainable; parameters and their names are the float model's.

    Args:
        checkpoint: the weights it begins with, and thresholds where plasticity has changed them.
        fraction: fraction bits of vectors, for evaluation.
    """

    def __init__(self, checkpoint: Checkpoint, fraction: int = DEFAULT_FRACTION) -> None:
        super().__init__(checkpoint)
        self.fraction = fraction
        self.responses = Responses(checkpoint.thresholds) if checkpoint.thresholds else None

    def checkpoint(self) -> Checkpoint:
        """Weights and thresholds as they are now."""
        thresholds = {} if self.responses is None else self.responses.integers()
        return Checkpoint(self.config, self.weights(), thresholds)

    def integers(self) -> QuantisedModel:
        """Every integer of the model as it is now."""
        return quantise(self.checkpoint(), self.fraction)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits (B, T, vocab) or (T, vocab) of ids (B, T) or (T,).

        In training float32 in natural-log units; in evaluation float64 integers with `fraction`
        fraction bits.
        """
        batch = ids if ids.dim() == 2 else ids[None]
        if self.training:
            logits, _ = self.train_step(batch)
        else:
            with torch.no_grad():
                logits = decode(ExactArithmetic(self.integers()), batch, self.config.layers)
        return logits if ids.dim() == 2 else logits[0]

    def train_step(self, ids: Tensor,
                   observe: Observer | None = None) -> tuple[Tensor, list[Fired]]:
        """Training's logits (B, T, vocab), and what the populations fired, in order."""
        arithmetic = TrainingArithmetic(self, self.responses, observe)
        return decode(arithmetic, ids, self.config.layers), arithmetic.fired
