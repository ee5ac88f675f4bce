"""spikelet eval: perplexity of the float model and of the spiking model on a text."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from host.cli.sources import ModelOption, TokenizerOption, read_text
from host.cli.terminal import Tell, print_table, progress
from isa.errors import SpikeletError


def evaluate(
    model: ModelOption,
    tokenizer: TokenizerOption,
    text: Annotated[Path, typer.Option("--text", help="UTF-8 text; <|endoftext|> between "
                                                      "documents.")],
) -> None:
    """Perplexity of float, and of the integers that the hardware computes.

    \b
    Example:
      spikelet eval --model stories260K.bin --tokenizer tok512.bin --text stories.txt
    """
    from golden.model.checkpoint import load_checkpoint
    from golden.model.tokenizer import load_tokenizer
    from isa.image import is_image

    if is_image(model):
        raise SpikeletError(f"{model} is an image, which has no float weights: give the checkpoint "
                            "that it was compiled from")
    checkpoint = load_checkpoint(model)
    words = load_tokenizer(tokenizer, checkpoint.config.vocab)
    content = read_text(text)

    from golden.model.calibrate import quantise_calibrated
    from golden.model.float_model import FloatModel
    from golden.model.perplexity import LONGEST, perplexity, split_documents
    from golden.model.spiking import SpikingModel

    documents = split_documents(content, words, min(LONGEST, checkpoint.config.context))
    start = time.perf_counter()
    with progress("float") as tell:
        float_result = perplexity(FloatModel(checkpoint), _told(documents, tell))
    with progress("calibrating", lines=False) as tell:
        tell(0.0, "")
        quantised = quantise_calibrated(checkpoint)
    spiking_model = SpikingModel(quantised)
    with progress("spiking") as tell:
        spiking_result = perplexity(spiking_model.log_logits, _told(documents, tell))
    ratio = spiking_result.value / float_result.value - 1
    activity, counters = spiking_model.counters.total, spiking_model.counters
    positions = sum(map(len, documents))
    print_table([
        ("text", f"{text}: {len(documents)} documents, {float_result.tokens:,} predicted tokens"),
        ("perplexity, float", f"{float_result.value:.4f}"),
        ("perplexity, spiking", f"{spiking_result.value:.4f} ({ratio:+.2%} against float)"),
        ("vector fraction", f"{quantised.fraction} bits"),
        ("spikes a neuron", f"{activity.spikes / max(activity.neurons, 1):.2f} (unary schedule: "
                            f"{activity.unary_spikes / max(activity.neurons, 1):.2f})"),
        ("synaptic operations a token", f"{activity.synaptic_operations / positions:,.0f}"),
        ("saturations", f"{counters.saturated:,} results clipped"),
        ("wall time", f"{time.perf_counter() - start:.1f} s"),
    ])  # fmt: skip


def _told(documents: list[list[int]], tell: Tell) -> Iterator[list[int]]:
    """The documents, with a word before each."""
    for n, document in enumerate(documents):
        tell(n / len(documents), f"document {n + 1}/{len(documents)}")
        yield document
