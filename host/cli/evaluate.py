"""spikelet eval: perplexity and bits per character of the float and the spiking model."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from host.cli.sources import ModelOption, TokenizerOption, read_text, read_weights
from host.cli.terminal import Tell, print_table, progress


def evaluate(
    text: Annotated[Path, typer.Option("--text", help="UTF-8 text; <|endoftext|> between "
                                                      "documents.")],
    model: ModelOption = None,
    tokenizer: TokenizerOption = None,
) -> None:
    """How well the float model, and the integers that the hardware computes, predict a text.

    Perplexity is that of the first 400 tokens of each document; bits per character are those of
    whole documents, and compare models with different tokenizers.

    \b
    Example:
      spikelet eval --text stories.txt
    """
    checkpoint, words = read_weights(model, tokenizer)
    content = read_text(text)

    from golden.model.calibrate import quantise_calibrated
    from golden.model.float_model import FloatModel
    from golden.model.perplexity import (
        LONGEST,
        bits_per_character,
        perplexity,
        split_documents,
    )
    from golden.model.spiking import SpikingModel

    context = checkpoint.config.context
    documents = split_documents(content, words, min(LONGEST, context))
    start = time.perf_counter()
    float_model = FloatModel(checkpoint)
    with progress("float") as tell:
        float_result = perplexity(float_model, _told(documents, tell))
        float_bits = bits_per_character(float_model, content, words, context)
    with progress("calibrating", lines=False) as tell:
        tell(0.0, "")
        quantised = quantise_calibrated(checkpoint, begin=words.begin)
    spiking_model = SpikingModel(quantised)
    with progress("spiking") as tell:
        spiking_result = perplexity(spiking_model.log_logits, _told(documents, tell))
        activity, saturated = spiking_model.counters.total, spiking_model.counters.saturated
        tell(1.0, "whole documents")
        spiking_bits = bits_per_character(spiking_model.log_logits, content, words, context)
    ratio = spiking_result.value / float_result.value - 1
    positions = sum(map(len, documents))
    print_table([
        ("text", f"{text}: {len(documents)} documents, {float_result.tokens:,} predicted tokens"),
        ("perplexity, float", f"{float_result.value:.4f}"),
        ("perplexity, spiking", f"{spiking_result.value:.4f} ({ratio:+.2%} against float)"),
        ("bits per character, float", f"{float_bits:.4f}"),
        ("bits per character, spiking", f"{spiking_bits:.4f} "
                                        f"({spiking_bits / float_bits - 1:+.2%} against float)"),
        ("vector fraction", f"{quantised.fraction} bits"),
        ("spikes a neuron", f"{activity.spikes / max(activity.neurons, 1):.2f} (unary schedule: "
                            f"{activity.unary_spikes / max(activity.neurons, 1):.2f})"),
        ("synaptic operations a token", f"{activity.synaptic_operations / positions:,.0f}"),
        ("saturations", f"{saturated:,} results clipped"),
        ("wall time", f"{time.perf_counter() - start:.1f} s"),
    ])  # fmt: skip


def _told(documents: list[list[int]], tell: Tell) -> Iterator[list[int]]:
    """The documents, with a word before each."""
    for n, document in enumerate(documents):
        tell(n / len(documents), f"document {n + 1}/{len(documents)}")
        yield document
