"""Options that name a model, a tokenizer or a configuration, and the reading of what they name."""

from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from host.cli.terminal import progress
from isa.configurations import CONFIGURATIONS, configuration
from isa.errors import SpikeletError

if TYPE_CHECKING:  # help must not wait for NumPy
    from golden.checkpoints.checkpoint import Checkpoint
    from golden.tokenizers.tokenizer import Tokenizer
    from isa.image import Image

DEFAULT_CONFIGURATION = "ulx3s"
SHIPPED_MODEL = Path(str(files("golden"))) / "models" / "stories"


class Weights(StrEnum):
    """Where the device takes its weights from."""

    resident = "resident"
    streamed = "streamed"
    external = "external"


class ScheduleName(StrEnum):
    """The threshold schedules of the EI-IF neurons (isa/schedule.py)."""

    phase = "phase"
    unary = "unary"


ModelOption = Annotated[
    Path | None,
    typer.Option("--model", "-m", help="Checkpoint: a Hugging Face folder or a llama2.c "
                                       "model.bin. Default: the model that ships."),
]
TokenizerOption = Annotated[
    Path | None,
    typer.Option("--tokenizer", "-t", help="A tokenizer.json or a llama2.c tokenizer.bin. Default: "
                                           "the one in the model's folder."),
]
ConfigurationOption = Annotated[
    str | None,
    typer.Option("--config", "-c", help=f"Device configuration: {', '.join(CONFIGURATIONS)}. "
                                        f"Default: {DEFAULT_CONFIGURATION}, or the image's."),
]
WeightsOption = Annotated[
    Weights | None,
    typer.Option("--weights", help="Resident on the device (default), streamed by the host for "
                                   "every token, or in the device's external memory."),
]
ScheduleOption = Annotated[
    ScheduleName | None,
    typer.Option("--schedule", help="Firing schedule: 8 signed phases (default), or the paper's "
                                    "127 unary steps."),
]


def model_path(model: Path | None) -> Path:
    """The model that the user named; by default the one that ships.

    Raises:
        SpikeletError: none was named, and this installation has none.
    """
    if model is not None:
        return model
    if not SHIPPED_MODEL.is_dir():
        raise SpikeletError(f"this installation has no model of its own ({SHIPPED_MODEL} does not "
                            "exist): give --model")
    return SHIPPED_MODEL


def read_tokenizer(model: Path, tokenizer: Path | None, vocab: int) -> "Tokenizer":
    """Reads the tokenizer that the user named; by default the one in the model's folder.

    Raises:
        SpikeletError: there is none, its file is wrong, or it has not `vocab` tokens.
    """
    from golden.tokenizers.load import find_tokenizer, load_tokenizer

    path = tokenizer
    if path is None and model.is_dir():
        path = find_tokenizer(model)
    if path is None:
        raise SpikeletError(f"{model} comes without a tokenizer: give --tokenizer")
    return load_tokenizer(path, vocab)


def read_weights(model: Path | None, tokenizer: Path | None) -> "tuple[Checkpoint, Tokenizer]":
    """Reads a checkpoint, by default the one that ships, and its tokenizer.

    This is for commands that need float weights, which an image does not have.

    Raises:
        SpikeletError: the model is an image, its file is wrong, or it has no tokenizer.
    """
    from golden.checkpoints.checkpoint import load_checkpoint
    from isa.image import is_image

    path = model_path(model)
    if is_image(path):
        raise SpikeletError(f"{path} is an image, which has no float weights: give the checkpoint "
                            "that it was compiled from")
    checkpoint = load_checkpoint(path)
    return checkpoint, read_tokenizer(path, tokenizer, checkpoint.config.vocab)


def begin_and_end(model: Path, tokenizer: "Tokenizer | None") -> tuple[int | None, int | None]:
    """The tokens that begin and end a text: the tokenizer's, or what the model's files say."""
    if tokenizer is not None:
        return tokenizer.begin, tokenizer.end
    if model.is_dir():
        from golden.checkpoints.huggingface_config import begin_and_end

        return begin_and_end(model / "config.json")

    from golden.tokenizers.llama2c import BOS

    return BOS, BOS


def read_model(model: Path, config: str | None) -> "Checkpoint | Image":
    """Reads a model: a checkpoint or an image.

    An image has to be for the configuration `config`, or may be for any where that is None.

    Raises:
        SpikeletError: the file is wrong, the image is for another configuration, or there is no
            such configuration.
    """
    from isa.image import is_image, load_image

    device = None if config is None else configuration(config)
    if is_image(model):
        return load_image(model, device)

    from golden.checkpoints.checkpoint import load_checkpoint

    return load_checkpoint(model)


def vocabulary(source: "Checkpoint | Image") -> int:
    """The number of tokens that the model has."""
    from isa.image import Image

    return source.model["vocab"] if isinstance(source, Image) else source.config.vocab


def make_image(
    source: "Checkpoint | Image",
    config: str | None = None,
    weights: Weights | None = None,
    schedule: ScheduleName | None = None,
    begin: int | None = None,
    end: int | None = None,
) -> "Image":
    """The image of a model. A checkpoint is calibrated and compiled; an image stays as it is.

    Options that are None take their defaults, or those that the image was compiled with.

    Args:
        source: a checkpoint or an image.
        config: the name of the configuration.
        weights: where the device takes its weights from.
        schedule: the threshold schedule of the neurons.
        begin: the token with which the model begins the texts that it writes for calibration.
        end: the token that ends a generation.

    Raises:
        SpikeletError: the model does not fit the configuration, or the image was compiled with
            other options.
    """
    from isa.image import Image

    if isinstance(source, Image):
        for name, wanted in (("weights", weights), ("schedule", schedule)):
            has = source.model.get(name)
            if wanted is not None and wanted != has:
                raise SpikeletError(f"the image was compiled with --{name} {has}: leave out "
                                    f"--{name} {wanted}, or compile the model again")
        return source

    with progress("preparing the model", lines=False) as tell:
        tell(0.0, "calibrate")

        from golden.quantisation.calibrate import quantise_calibrated  # imports PyTorch
        from host.compiler.compile import compile_model

        quantised = quantise_calibrated(source, begin=begin)
        tell(0.8, "compile")
        return compile_model(
            quantised, configuration(config or DEFAULT_CONFIGURATION),
            weights=str(weights or Weights.resident),
            schedule=str(schedule or ScheduleName.phase),
            end_token=end,
        )


def read_text(path: Path) -> str:
    """Reads a text file in UTF-8.

    Raises:
        SpikeletError: there is no such file, it cannot be read, or it is not in UTF-8.
    """
    if path.is_dir():
        raise SpikeletError(f"text {path} is a folder: give a file")
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpikeletError(f"text {path} does not exist: check the path") from None
    except OSError as error:
        raise SpikeletError(f"text {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SpikeletError(f"text {path} is no UTF-8 text (byte {error.start}): convert it "
                            "first") from None
