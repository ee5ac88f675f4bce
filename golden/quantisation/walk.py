"""The integer model layer by layer: quantised, run beside the float model, and handed on.

As golden/float_model/walk.py does, a walk takes all documents through one layer before the next one
is quantised, and keeps the hidden states only. It measures what the whole model would give.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch

from golden.checkpoints.checkpoint import Checkpoint
from golden.evaluation.perplexity import Perplexity
from golden.float_model.walk import HEAD_ROWS, Documents, FloatWalk, NextTokens
from golden.progress import Tell, unheard
from golden.quantisation.quantise import (
    Layer,
    outline,
    quantise_embedding,
    quantise_head,
    quantise_layer,
)
from golden.quantisation.synapses import Synapses
from golden.spiking_model.model import SpikingModel

# The vectors that saturate when they are too large. Codes and probabilities never are.
VECTORS = ("qkv", "rotated", "score", "mixed", "attended", "gate", "up", "silu", "product", "down")


class Sink(Protocol):
    """Takes the integers of each part of a model once all documents have gone through it."""

    def embedding(self, synapses: Synapses) -> None: ...
    def layer(self, n: int, layer: Layer) -> None: ...
    def head(self, synapses: Synapses) -> None: ...


class Saturated(Exception):
    """A vector was clipped: `where` names it."""

    def __init__(self, where: str) -> None:
        super().__init__(where)
        self.where = where


@dataclass
class IntegerWalk:
    """What the integer model made of the documents.

    errors: by layer, ||integer - float|| / ||float|| of the residual stream after attention and
    after the MLP. peaks: by vector name, the absolute maximum, an integer.
    """

    errors: list[tuple[float, float]] = field(default_factory=list)
    peaks: dict[str, int] = field(default_factory=dict)
    perplexity: Perplexity = Perplexity(math.nan, 0)


@torch.inference_mode()
def walk_integer(checkpoint: Checkpoint, fraction: int, documents: Documents, floats: FloatWalk,
                 sink: Sink | None = None, tell: Tell = unheard
                 ) -> IntegerWalk:
    """Quantises a checkpoint and runs it over the documents.

    Args:
        floats: the float model's walk over the same documents.
        sink: gets the integers of every part that has gone through.

    Raises:
        Saturated: at the first part in which a vector is clipped.
    """
    c, walk = checkpoint.config, IntegerWalk()
    tell(0.0, "embedding")
    embedding = quantise_embedding(checkpoint)
    model = SpikingModel(replace(outline(checkpoint, fraction), embedding=embedding.outline()),
                         load=False)

    def see(name: str, vector: torch.Tensor) -> None:
        walk.peaks[name] = max(walk.peaks.get(name, 0), int(vector.abs().max()))

    def check() -> None:
        if model.counters.saturated:
            raise Saturated(model.counters.saturations.most_common(1)[0][0])

    model.load("embedding", embedding)
    states = [model.embed(torch.tensor(ids)) for ids in documents]
    for x in states:
        see("embedding", x)
    check()
    if sink is not None:
        sink.embedding(embedding)
    del embedding, model.rows["embedding"]
    for n in range(c.layers):
        tell(n / (c.layers + 1), f"layer {n + 1}/{c.layers}")
        layer = quantise_layer(checkpoint, n, fraction)
        model.load_layer(n, layer)
        attended = []
        for i, x in enumerate(states):
            record: dict[str, torch.Tensor] = {}
            states[i] = model.layer(x, n, record)
            attended.append(record[f"layers.{n}.attended"])
            for name, vector in record.items():
                short = name.split(".")[2]
                if short in VECTORS:
                    see(f"layers.{n}.{short}", vector)
        model.unload_layer(n)
        check()
        walk.errors.append((_error(attended, floats.attended[n], fraction),
                            _error(states, floats.residual[n], fraction)))
        if sink is not None:
            sink.layer(n, layer)
    tell(c.layers / (c.layers + 1), "head")
    head, probability = quantise_head(checkpoint), NextTokens(documents)
    for first in range(0, c.vocab, HEAD_ROWS):
        model.load("logits", head.part(first, first + HEAD_ROWS))
        for i, x in enumerate(states):
            logits = model.logits(x)
            see("logits", logits)
            probability.add(i, first, logits.to(torch.float64) * 2.0**-fraction)
    check()
    walk.perplexity = probability.perplexity()
    if sink is not None:
        sink.head(head)
    return walk


def _error(integers: list[torch.Tensor], floats: list[torch.Tensor], fraction: int) -> float:
    """||integer - float|| / ||float|| over all documents."""
    difference = size = 0.0
    for x, y in zip(integers, floats, strict=True):
        y = y.to(torch.float64)
        difference += float((x.to(torch.float64) * 2.0**-fraction - y).square().sum())
        size += float(y.square().sum())
    return math.sqrt(difference / size) if size else math.sqrt(difference)
