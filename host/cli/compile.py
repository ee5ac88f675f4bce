"""spikelet compile: a model image from a checkpoint."""

from pathlib import Path
from typing import Annotated

import typer

from host.cli.sources import (
    ConfigurationOption,
    ModelOption,
    ScheduleOption,
    WeightsOption,
    make_image,
    read_model,
    vocabulary,
)
from host.cli.terminal import emit
from isa.errors import SpikeletError


def compile_image(
    model: ModelOption,
    out: Annotated[Path, typer.Option("--out", "-o", help="Image file to write.")],
    config: ConfigurationOption = None,
    weights: WeightsOption = None,
    schedule: ScheduleOption = None,
    tokenizer: Annotated[Path | None, typer.Option("--tokenizer", "-t", help="Check that this "
                                                   "tokenizer fits the model.")] = None,
) -> None:
    """Calibrates and compiles a checkpoint into an image that `generate --model` takes.

    \b
    Example:
      spikelet compile --model stories260K.bin --config ulx3s --out stories.image
    """
    from isa.image import Image

    source = read_model(model, config)
    if isinstance(source, Image):
        raise SpikeletError(f"{model} is an image already: give a checkpoint")
    if tokenizer is not None:
        from golden.model.tokenizer import load_tokenizer

        load_tokenizer(tokenizer, vocabulary(source))
    image = make_image(source, config, weights, schedule)
    image.save(out)
    emit(f"{out}: {out.stat().st_size:,} bytes for '{image.configuration}', context "
         f"{image.context}, {image.loaded_words:,} words to load, {image.streamed_words:,} "
         "streamed a token\n")
