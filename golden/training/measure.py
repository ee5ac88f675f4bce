"""What a trained model is worth: perplexity and spikes on text that it was not trained on."""

import math
from dataclasses import dataclass

import torch

from golden.quantisation.network import QuantisedNetwork
from golden.quantisation.responses import Responses
from golden.training.corpus import Windows
from golden.training.plasticity import mean_over_projections
from golden.training.quantised_stage import cross_entropy

SEED = 1  # of the held-out windows: the same for every model


@dataclass(frozen=True)
class Measure:
    """Perplexity a token; signed spikes a neuron, mean over projections and by population."""

    perplexity: float
    spikes: float
    by_population: dict[str, float]


@torch.no_grad()
def measure(model: QuantisedNetwork, windows: Windows, batches: int = 8) -> Measure:
    """Perplexity and spikes on `batches` batches of windows, with the quantisers of training."""
    responses, training = model.responses, model.training
    model.train()
    if responses is None:
        model.responses = Responses().to(model.cosine.device)
    generator = torch.Generator().manual_seed(SEED)
    loss, spikes, populations = 0.0, 0.0, {}
    for _ in range(batches):
        ids = windows.batch(generator).to(model.cosine.device)
        logits, fired = model.train_step(ids[:, :-1])
        loss += float(cross_entropy(logits, ids)) / batches
        spikes += float(mean_over_projections(fired)) / batches
        for f in fired:
            populations.setdefault(str(f.population), []).append(float(f.spikes))
    model.responses = responses
    model.train(training)
    return Measure(math.exp(loss), spikes, {p: sum(v) / len(v) for p, v in populations.items()})
