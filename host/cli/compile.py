"""spikelet compile: a model image from a checkpoint."""

from pathlib import Path
from typing import Annotated

import typer

from host.cli.sources import (
    ConfigurationOption,
    ModelOption,
    ScheduleOption,
    TokenizerOption,
    WeightsOption,
    begin_and_end,
    make_image,
    model_path,
    read_model,
    read_tokenizer,
    vocabulary,
)
from host.cli.terminal import emit
from isa.errors import SpikeletError


def compile_image(
    out: Annotated[Path, typer.Option("--out", "-o", help="Image file to write.")],
    model: ModelOption = None,
    tokenizer: TokenizerOption = None,
    config: ConfigurationOption = None,
    weights: WeightsOption = None,
    schedule: ScheduleOption = None,
) -> None:
    """Calibrates and compiles a checkpoint into an image that `generate --model` takes.

    A tokenizer is not needed; one that is given or lies in the model's folder must fit the model.

    \b
    Example:
      spikelet compile --config ulx3s --out stories.image
    """
    from golden.tokenizers.load import find_tokenizer
    from isa.image import Image

    model = model_path(model)
    source = read_model(model, config)
    if isinstance(source, Image):
        raise SpikeletError(f"{model} is an image already: give a checkpoint")
    words = None
    if tokenizer is not None or (model.is_dir() and find_tokenizer(model)):
        words = read_tokenizer(model, tokenizer, vocabulary(source))
    image = make_image(source, config, weights, schedule, *begin_and_end(model, words))
    image.save(out)
    emit(f"{out}: {out.stat().st_size:,} bytes for '{image.configuration}', context "
         f"{image.context}, {image.loaded_words:,} words to load, {image.streamed_words:,} "
         "streamed a token\n")
