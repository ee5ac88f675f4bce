"""What determines a training run, and the optimisers that follow from it."""

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Settings:
    """What determines a training run, beside model and text.

    Args:
        steps: optimiser steps in all.
        batch: windows a step.
        length: tokens a window.
        rate: peak learning rate of the layers' matrices (Muon); the rest takes half of it (Adam).
        warm_up, cool_down: shares of the steps in which the rate rises from and falls to 0.
        neuron_rate: step of the neurons' theta_base along the gradient (Adam); alpha takes a tenth.
        float_share: share of the steps that run in float before the quantisers come in.
        distil: weight of the teacher's distribution against the text's next token.
        seed: of the windows, and of untrained weights.
        save_every: seconds between checkpoints.
    """

    steps: int
    batch: int = 32
    length: int = 256
    rate: float = 0.02
    warm_up: float = 0.02
    cool_down: float = 0.5
    decay: float = 0.01
    neuron_rate: float = 0.0
    float_share: float = 0.0
    distil: float = 0.0
    seed: int = 0
    save_every: float = 120.0

    def rate_at(self, step: int) -> float:
        """Share of the peak learning rate at a step: a trapezoid."""
        rise = (step + 1) / max(1.0, self.warm_up * self.steps)
        fall = (self.steps - step) / max(1.0, self.cool_down * self.steps)
        return min(1.0, rise, fall)


def optimisers(model: nn.Module, s: Settings) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, AdamW for embedding, head, norms, biases and neurons."""
    matrices, others = [], []
    neuron_rates = {"responses.base": s.neuron_rate, "responses.alpha": s.neuron_rate / 10}
    neurons = []
    for name, parameter in model.named_parameters():
        if name in neuron_rates:
            neurons.append({"params": [parameter], "lr": neuron_rates[name], "weight_decay": 0.0})
        else:
            inner = parameter.dim() == 2 and name.startswith("layers.")
            (matrices if inner else others).append(parameter)
    groups = [{"params": others, "weight_decay": s.decay}, *neurons]
    return [torch.optim.Muon(matrices, lr=s.rate, weight_decay=s.decay, momentum=0.95,
                             adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(groups, lr=s.rate / 2, betas=(0.9, 0.95), fused=True)]
