"""Calibration: how many fraction bits a model's vectors can have so that none of them saturates."""

import math

import torch

from golden.model.checkpoint import Checkpoint
from golden.model.float_model import FloatModel
from golden.model.quantise import DEFAULT_FRACTION, QuantisedModel, quantise
from golden.model.spiking import SpikingModel
from isa.errors import SpikeletError
from isa.formats import VECTOR

LEAST_FRACTION = 4
MARGIN_BITS = 2  # other text may reach this many times 2 further than the text of calibration


@torch.inference_mode()
def sample_documents(checkpoint: Checkpoint, count: int = 4, length: int = 48,
                     seed: int = 0, begin: int | None = None) -> list[list[int]]:
    """Text that the model itself tells, as token ids: calibration without a corpus.

    It tells from the token `begin` on; where a model has none, from any tokens.
    """
    model, c = FloatModel(checkpoint), checkpoint.config
    generator = torch.Generator().manual_seed(seed)
    if begin is None:
        ids = torch.randint(c.vocab, (count, 1), generator=generator)
    else:
        ids = torch.full((count, 1), begin)
    for _ in range(min(length, c.context) - 1):
        probability = torch.softmax(model(ids)[:, -1].to(torch.float64), -1)
        if not torch.isfinite(probability).all():
            raise SpikeletError("the checkpoint's float activations overflow: use another one")
        ids = torch.cat([ids, torch.multinomial(probability, 1, generator=generator)], 1)
    return ids.tolist()


@torch.inference_mode()
def largest_activation(checkpoint: Checkpoint, documents: list[list[int]]) -> tuple[float, str]:
    """Largest magnitude of any vector or bias that the device would hold, and its name."""
    model, largest, where = FloatModel(checkpoint), 0.0, "embedding"
    biases = {name: torch.tensor(checkpoint.weights[name]) for name in checkpoint.weights
              if name.rpartition(".")[2] in ("bq", "bk", "bv")}
    for ids in documents:
        record = dict(biases)
        model(torch.tensor(ids), record)
        for name, vector in record.items():
            peak = float(vector.abs().max())
            if not peak <= largest:            # also where it is no number
                largest, where = peak, name
    return largest, where


def choose_fraction(checkpoint: Checkpoint, documents: list[list[int]],
                    margin_bits: int = MARGIN_BITS) -> int:
    """The most fraction bits (4..12) with which nothing saturates on these documents.

    The largest float activation keeps `margin_bits` of head room; the integer model then runs the
    documents, and the fraction falls further until it counts no saturation.

    Raises:
        SpikeletError: activations too large for 24-bit vectors.
    """
    largest, where = largest_activation(checkpoint, documents)
    fraction = DEFAULT_FRACTION
    if not math.isfinite(largest):
        fraction = LEAST_FRACTION - 1
    elif largest:
        fraction = min(fraction, VECTOR.bits - 1 - margin_bits - math.frexp(largest)[1])
    while fraction >= LEAST_FRACTION:
        model = SpikingModel(quantise(checkpoint, fraction))
        for ids in documents:
            model(torch.tensor(ids))
        if not model.counters.saturated:
            return fraction
        where = model.counters.saturations.most_common(1)[0][0]
        fraction -= 1
    raise SpikeletError(f"{where} is too large for {VECTOR.bits}-bit vectors with {LEAST_FRACTION} "
                        f"fraction bits (activations reach {largest:.3g}); use a checkpoint with "
                        "smaller activations")


def quantise_calibrated(checkpoint: Checkpoint,
                        documents: list[list[int]] | None = None,
                        begin: int | None = None) -> QuantisedModel:
    """The integers of a checkpoint at the fraction that suits the documents.

    Without documents the model tells some text itself, from the token `begin` on.
    """
    if documents is None:
        documents = sample_documents(checkpoint, begin=begin)
    return quantise(checkpoint, choose_fraction(checkpoint, documents))
