"""Calibration: how many fraction bits a model's vectors can have so that none of them saturates."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.resources import files

import torch

from golden.checkpoints.checkpoint import Checkpoint
from golden.decoder import decoder_layer
from golden.float_model.arithmetic import FloatArithmetic, KeyValueCache
from golden.float_model.walk import FloatLayers, FloatWalk, walk_float
from golden.progress import Tell, unheard
from golden.quantisation.quantise import DEFAULT_FRACTION, QuantisedModel, quantise
from golden.quantisation.walk import IntegerWalk, Saturated, Sink, walk_integer
from isa.errors import SpikeletError
from isa.formats import VECTOR

LEAST_FRACTION = 4
MARGIN_BITS = 2  # head room, in bits, for text that reaches further than the calibration text

OpenSink = Callable[[int], AbstractContextManager[Sink | None]]


@dataclass(frozen=True)
class Calibration:
    """The fraction that suits the documents, and what both models made of them."""

    fraction: int
    floats: FloatWalk
    integers: IntegerWalk


def calibration_text() -> str:
    """The text that ships for models that come with a tokenizer and no text of their own."""
    return files("golden.quantisation").joinpath("calibration.txt").read_text(encoding="utf-8")


@torch.inference_mode()
def sample_documents(checkpoint: Checkpoint, count: int | None = None, length: int | None = None,
                     seed: int = 0, begin: int | None = None, tell: Tell = unheard
                     ) -> list[list[int]]:
    """Text that the model itself tells, as token ids: calibration without a corpus.

    It begins with the token `begin`, or with random tokens where a model has none. By default it
    tells 4 documents of 48 tokens; 12 of 16 where layers have to be read again for every token.

    Raises:
        SpikeletError: activations that float32 does not hold.
    """
    c, layers = checkpoint.config, FloatLayers(checkpoint)
    usual = (4, 48) if layers.kept else (12, 16)
    count, length = count or usual[0], min(length or usual[1], c.context)
    generator = torch.Generator().manual_seed(seed)
    if begin is None:
        ids = torch.randint(c.vocab, (count, 1), generator=generator)
    else:
        ids = torch.full((count, 1), begin)
    cache = KeyValueCache(c, count, length)
    cosine, sine = layers.rotation(length)
    embedding = layers.embedding()
    head = embedding if c.tied else layers.head()
    for p in range(length - 1):
        tell(p / length, f"sampling {p + 1}/{length}")
        x = embedding[ids[:, -1:]]                                       # (count, 1, dim)
        for n in range(c.layers):
            arithmetic = FloatArithmetic(c, {n: layers.layer(n)},
                                         (cosine[p:p + 1], sine[p:p + 1]), cache=cache)
            x = decoder_layer(arithmetic, x, n)
            del arithmetic  # and its layer, before the next one is made
        cache.length += 1
        logits = layers.last_norm(x[:, 0]) @ head.T                         # (count, vocab)
        probability = torch.softmax(logits.to(torch.float64), -1)
        if not torch.isfinite(probability).all():
            raise SpikeletError("the checkpoint's float activations overflow: use another one")
        ids = torch.cat([ids, torch.multinomial(probability, 1, generator=generator)], 1)
    return ids.tolist()


def calibrate(checkpoint: Checkpoint, documents: list[list[int]], margin_bits: int = MARGIN_BITS,
              open_sink: OpenSink | None = None, tell: Tell | None = None) -> Calibration:
    """Finds the most fraction bits (4..12) with which nothing saturates on these documents.

    The largest float activation keeps `margin_bits` of head room; the integer model then runs the
    documents, and the fraction falls further until it counts no saturation. Both models go layer by
    layer: no more than one layer's weights are in memory.

    Args:
        documents: lists of ids, each of 1 to as many as the context holds.
        open_sink: called with each fraction that is tried; what it opens gets the integers of every
            part, and is left by an exception where they saturate.
        tell: told how much is done and at what stage.

    Raises:
        SpikeletError: activations too large for 24-bit vectors.
    """
    tell = tell or unheard
    floats = walk_float(checkpoint, documents, lambda done, stage: tell(done / 3, f"float {stage}"))
    where, fraction = floats.where, DEFAULT_FRACTION
    if not math.isfinite(floats.largest):
        fraction = LEAST_FRACTION - 1
    elif floats.largest:
        fraction = min(fraction,
                       VECTOR.bits - 1 - margin_bits - math.frexp(floats.largest)[1])
    while fraction >= LEAST_FRACTION:
        try:
            with nullcontext() if open_sink is None else open_sink(fraction) as sink:
                integers = walk_integer(
                    checkpoint, fraction, documents, floats, sink,
                    lambda done, stage: tell(1 / 3 + done * 2 / 3, f"integer {stage}"))
            return Calibration(fraction, floats, integers)
        except Saturated as saturated:
            where = saturated.where
        fraction -= 1
    raise SpikeletError(f"{where} is too large for {VECTOR.bits}-bit vectors with {LEAST_FRACTION} "
                        f"fraction bits (activations reach {floats.largest:.3g}); use a checkpoint "
                        "with smaller activations")


def choose_fraction(checkpoint: Checkpoint, documents: list[list[int]],
                    margin_bits: int = MARGIN_BITS) -> int:
    """The fraction of `calibrate`."""
    return calibrate(checkpoint, documents, margin_bits).fraction


def quantise_calibrated(checkpoint: Checkpoint,
                        documents: list[list[int]] | None = None,
                        begin: int | None = None) -> QuantisedModel:
    """The integers of a checkpoint at the fraction that suits the documents.

    Without documents the model tells some text itself, from the token `begin` on.
    """
    if documents is None:
        documents = sample_documents(checkpoint, begin=begin)
    return quantise(checkpoint, choose_fraction(checkpoint, documents))
