"""spikelet convert: one image from a checkpoint of any size, with a report on what it costs."""

import itertools
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from host.cli.sources import (
    DEFAULT_CONFIGURATION,
    ConfigurationOption,
    ScheduleName,
    ScheduleOption,
    Weights,
    WeightsOption,
    begin_and_end,
    read_model,
    read_text,
    read_tokenizer,
    vocabulary,
)
from host.cli.terminal import Tell, emit, print_grid, print_table, progress
from isa.configurations import configuration
from isa.errors import SpikeletError

if TYPE_CHECKING:
    from golden.checkpoints.checkpoint import Checkpoint
    from golden.checkpoints.config import Attention
    from golden.quantisation.calibrate import Calibration
    from golden.tokenizers.tokenizer import Tokenizer

TOKENS = 512
NAMES_SHOWN = 8


def convert(
    source: Annotated[Path, typer.Argument(help="Checkpoint: a Hugging Face folder or a llama2.c "
                                                "model.bin.")],
    out: Annotated[Path, typer.Argument(help="Image file to write.")],
    config: ConfigurationOption = None,
    text: Annotated[Path | None, typer.Option("--text", help="UTF-8 text to calibrate on, "
                                              "<|endoftext|> between documents. Default: a short "
                                              "text that ships.")] = None,
    tokenizer: Annotated[Path | None, typer.Option("--tokenizer", "-t", help="Default: the one in "
                                                   "the checkpoint's folder; without one the model "
                                                   "calibrates on what it tells itself.")] = None,
    weights: WeightsOption = None,
    schedule: ScheduleOption = None,
    context: Annotated[int | None, typer.Option("--context", min=1, help="Positions to make room "
                                                "for. Default: as many as fit.")] = None,
    tokens: Annotated[int, typer.Option("--tokens", min=2, help="Most tokens of the text that are "
                                        "used.")] = TOKENS,
) -> None:
    """Converts a checkpoint into an image, layer by layer, and reports on what the integers cost.

    \b
    Example:
      spikelet convert Qwen2-0.5B qwen.image --config large --weights streamed
    """
    from isa.image import Image, check_writable, is_image

    device = configuration(config or DEFAULT_CONFIGURATION)
    check_writable(out)
    checkpoint = read_model(source, None)
    if isinstance(checkpoint, Image):
        raise SpikeletError(f"{source} is an image already: give a checkpoint")
    if out.exists() and not is_image(out) and out.resolve().is_relative_to(source.resolve()):
        raise SpikeletError(f"{out} belongs to the checkpoint: give another name to the image")
    words = _tokenizer(source, tokenizer, text, vocabulary(checkpoint))
    begin, end = begin_and_end(source, words)
    content = None if text is None else read_text(text)

    from host.compiler.checkpoint_to_image import convert as write_image  # imports PyTorch

    clock = _Clock()
    documents, origin = _documents(checkpoint, content, text, words, begin, tokens, clock)
    with progress("converting") as tell:
        calibration = write_image(
            checkpoint, documents, out, device, str(weights or Weights.resident),
            str(schedule or ScheduleName.phase), context, end, clock.following(tell))
    _report(checkpoint, out, calibration, f"{origin}: {len(documents)} documents, "
            f"{sum(map(len, documents)):,} tokens", clock.report())


class _Clock:
    """Measures wall and processor time of each part of the work.

    Parts are told apart by the first word of the stages that the work reports.
    """

    def __init__(self) -> None:
        self._parts: list[tuple[str, float, float]] = []
        self._begin("reading")

    def _begin(self, part: str) -> None:
        self._parts.append((part, time.perf_counter(), time.process_time()))

    def following(self, tell: Tell) -> Tell:
        """A function that hands each report on to `tell` and notes when a part begins."""

        def told(done: float, stage: str) -> None:
            part = stage.split(" ")[0]
            if part != self._parts[-1][0]:
                self._begin(part)
            tell(done, stage)

        return told

    def report(self) -> list[tuple[str, str]]:
        """The times as rows of a table, once the work is done."""
        self._begin("")
        return [(f"time, {part}", f"{later[1] - wall:.1f} s ({later[2] - cpu:.1f} s of processors)")
                for (part, wall, cpu), later in itertools.pairwise(self._parts)]


def _tokenizer(source: Path, tokenizer: Path | None, text: Path | None, vocab: int
               ) -> "Tokenizer | None":
    from golden.tokenizers.load import find_tokenizer

    there = tokenizer is not None or (source.is_dir() and find_tokenizer(source) is not None)
    return read_tokenizer(source, tokenizer, vocab) if there or text is not None else None


def _documents(checkpoint: "Checkpoint", content: str | None, text: Path | None,
               words: "Tokenizer | None", begin: int | None, tokens: int, clock: _Clock
               ) -> tuple[list[list[int]], str]:
    """Documents to calibrate on, with at most `tokens` token numbers in all, and their source.

    They come from the user's text, else from the text that ships, else from the model itself.
    """
    from golden.evaluation.perplexity import split_documents
    from golden.quantisation.calibrate import calibration_text, sample_documents

    longest = min(tokens, checkpoint.config.context)
    if words is not None and content is not None:
        return _cut(split_documents(content, words, longest), tokens), str(text)
    if words is not None:
        try:
            documents = split_documents(calibration_text(), words, longest)
        except SpikeletError:  # the tokenizer lacks characters of the text
            documents = []
        if documents:
            return _cut(documents, tokens), "the text that ships"
    with progress("converting") as tell:
        sampled = sample_documents(checkpoint, begin=begin, tell=clock.following(tell))
    return _cut(sampled, tokens), "text that the model told"


def _cut(documents: list[list[int]], tokens: int) -> list[list[int]]:
    """The first documents, with at most `tokens` token numbers in all; the last may be cut."""
    kept: list[list[int]] = []
    for ids in documents:
        ids = ids[:tokens - sum(map(len, kept))]
        if len(ids) > 1 or not kept:
            kept.append(ids)
    return kept


def _report(checkpoint: "Checkpoint", out: Path, calibration: "Calibration", text: str,
            times: list[tuple[str, str]]) -> None:
    from isa.image import load_image

    floats, integers = calibration.floats, calibration.integers
    before, after = floats.perplexity, integers.perplexity
    image = load_image(out)
    shown = ", ".join(checkpoint.unused[:NAMES_SHOWN])
    more = len(checkpoint.unused) - NAMES_SHOWN
    print_table([
        ("image", f"{out}: {out.stat().st_size:,} bytes for '{image.configuration}', context "
                  f"{image.context}"),
        ("weights", f"{image.model['weights']}: {image.loaded_words:,} words to load, "
                    f"{image.streamed_words:,} streamed a token"),
        ("tensors unused", shown + (f" and {more} more" if more > 0 else "") or "none"),
        ("tensors missing", "none" + (" (the head is the embedding)" if checkpoint.config.tied
                                      else "")),
        ("calibrated on", text),
        ("vector fraction", f"{calibration.fraction} bits; the largest float value is "
                            f"{floats.largest:,.4g} ({floats.where})"),
        ("perplexity, float", f"{_number(before.value)} on {before.tokens:,} tokens of that text"),
        ("perplexity, integers", f"{_number(after.value)} ({after.value / before.value - 1:+.2%})"),
        *times,
    ])  # fmt: skip
    emit("\nheadroom: how far the largest value of a kind is from saturation\n")
    print_grid(_headroom(calibration, checkpoint.config.attention))
    rows = [["layer", "after attention", "after the MLP"]]
    rows += [[f"{n}", *(f"{error:.3%}" for error in errors)]
             for n, errors in enumerate(integers.errors)]
    emit("\nerror of the residual stream, ||integers - float|| / ||float||\n")
    print_grid(rows)


def _number(perplexity: float) -> str:
    return f"{perplexity:.4f}" if perplexity < 1e9 else f"{perplexity:.4e}"


def _headroom(calibration: "Calibration", attention: "Attention") -> list[list[str]]:
    """A row for each kind of vector: its largest value, and the layer that has it."""
    from isa.formats import GATE_FRACTION, SCORE_FRACTION, VECTOR

    of_scores = GATE_FRACTION if attention == "gate" else SCORE_FRACTION
    worst: dict[str, tuple[int, str]] = {}
    for name, peak in calibration.integers.peaks.items():
        layer, _, kind = name.removeprefix("layers.").rpartition(".")
        worst[kind] = max(worst.get(kind, (-1, "")), (peak, layer), key=lambda found: found[0])
    rows = [["vector", "largest", "bits left", "in layer"]]
    for kind, (peak, layer) in worst.items():
        fraction = of_scores if kind == "score" else calibration.fraction
        left = f"{math.log2(VECTOR.maximum / peak):.1f}" if peak else "all"
        rows.append([kind, f"{peak * 2.0**-fraction:,.4g}", left, layer or "-"])
    return rows
