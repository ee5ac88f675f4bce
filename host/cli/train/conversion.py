"""spikelet train convert: stage 2, from quantisers to EI-IF neurons."""

from pathlib import Path
from typing import Annotated

import typer

from host.cli.sources import (
    DEFAULT_CONFIGURATION,
    ConfigurationOption,
    ModelOption,
    TokenizerOption,
    make_image,
    model_path,
    read_text,
    read_tokenizer,
)
from host.cli.terminal import emit, print_grid, progress
from isa.configurations import configuration
from isa.errors import SpikeletError


def convert(
    text: Annotated[Path, typer.Option("--text", help="UTF-8 text on which both are compared.")],
    model: ModelOption = None,
    tokenizer: TokenizerOption = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Image to write, for a "
                                             "device.")] = None,
    config: ConfigurationOption = None,
    tokens: Annotated[int, typer.Option(help="Tokens of the text to compare.")] = 128,
) -> None:
    """Stage 2: quantisers become EI-IF neurons; every logit must stay the same integer.

    \b
    Example:
      spikelet train convert --model stories --text stories.txt --out stories.image
    """
    from golden.checkpoints.checkpoint import load_checkpoint
    from golden.evaluation.perplexity import split_documents
    from golden.quantisation.calibrate import quantise_calibrated
    from isa.image import check_writable

    if tokens < 2:
        raise SpikeletError(f"--tokens is {tokens}: give 2 or more")
    if out is not None:
        configuration(config or DEFAULT_CONFIGURATION)  # mistakes show before the work begins
        check_writable(out)
    path = model_path(model)
    checkpoint = load_checkpoint(path)
    words = read_tokenizer(path, tokenizer, checkpoint.config.vocab)
    documents = split_documents(read_text(text), words, min(tokens, checkpoint.config.context))

    import torch

    from golden.training.spiking_stage import compare
    from isa.schedule import phase_schedule, unary_schedule

    ids = torch.tensor(documents[0])
    with progress("stage 2, conversion", lines=False) as tell:
        tell(0.0, "calibrate")
        integers = quantise_calibrated(checkpoint, begin=words.begin)
        schedules = [None, phase_schedule()]
        if not checkpoint.thresholds:
            schedules.append(unary_schedule())
        rows = []
        for n, schedule in enumerate(schedules):
            tell(0.2 + 0.8 * n / len(schedules), schedule.name if schedule else "codes at once")
            rows.append(compare(checkpoint, integers, ids, schedule))
    print_grid([
        ["spiking model", "logits compared", "different", "spikes"],
        *([r.schedule, f"{r.logits:,}", f"{r.different:,}", f"{r.spikes:,}" if r.spikes else "-"]
          for r in rows),
    ])
    wrong = next((r for r in rows if r.different), None)
    if wrong is not None:
        raise SpikeletError(f"the spiking model ({wrong.schedule}) differs from the quantised one, "
                            f"first at position {wrong.first[0]}, token {wrong.first[1]}: this is "
                            "a defect of Spikelet, please report it")
    if out is not None:
        image = make_image(checkpoint, config, begin=words.begin, end=words.end)
        image.save(out)
        emit(f"{out}: {out.stat().st_size:,} bytes for '{image.configuration}'\n")
