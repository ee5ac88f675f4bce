"""What the stages of training share: options, the text and its held-out part, and results."""

import json
import math
import platform
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from host.cli.terminal import progress
from isa.errors import SpikeletError

if TYPE_CHECKING:
    from golden.checkpoints.checkpoint import Checkpoint
    from golden.tokenizers.tokenizer import Tokenizer
    from golden.training.corpus import Windows
    from golden.training.loop import Result
    from golden.training.settings import Settings

EVERY = 30.0  # seconds between lines of progress where there is no terminal
HELD_OUT = 0.02  # the share of the text that is measured on and never trained on

TextOption = Annotated[Path, typer.Option("--text", help="UTF-8 text to learn; <|endoftext|> "
                                                         "between documents.")]
FolderOption = Annotated[Path, typer.Option("--out", "-o", help="Folder for the checkpoint; an "
                                            "interrupted run goes on from what lies there.")]
StepsOption = Annotated[int, typer.Option(help="Optimiser steps in all.")]
BatchOption = Annotated[int, typer.Option(help="Windows of text a step.")]
LengthOption = Annotated[int, typer.Option(help="Tokens a window.")]
SeedOption = Annotated[int, typer.Option(help="Seed of windows and untrained weights.")]
DistilOption = Annotated[float, typer.Option(help="Weight (0..1) of the teacher's distribution "
                                                  "against the text's next token.")]


def check(steps: int, batch: int, length: int, rate: float, distil: float) -> None:
    """Raises SpikeletError for numbers with which no training can run."""
    for name, value in (("steps", steps), ("batch", batch), ("length", length), ("rate", rate)):
        if not 0 < value < math.inf:
            raise SpikeletError(f"--{name} is {value:g}: give a number above 0")
    if not 0 <= distil <= 1:
        raise SpikeletError(f"--distil is {distil:g}: give a number in 0..1")


def make_folder(out: Path) -> None:
    """Makes the folder of a run.

    Raises:
        SpikeletError: there is a file of that name, or the folder cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise SpikeletError(f"{out} is a file: give a folder") from None
    except OSError as error:
        raise SpikeletError(f"cannot make the folder {out}: {error.strerror}") from None


def windows(text: Path, words: "Tokenizer", folder: Path, batch: int, length: int
            ) -> tuple["Windows", "Windows"]:
    """Windows of the text to train on, and windows of its last part, which is held out.

    The text's tokens are kept in `folder`, so that a run that goes on need not encode it again.

    Raises:
        SpikeletError: the text cannot be read, or is too short for both.
    """
    from golden.training.corpus import Windows, token_array

    with progress("reading", lines=False) as tell:
        ids = token_array(text, words, folder / "tokens.npy",
                          lambda done: tell(0.0, f"{done:,} tokens"))
    held = max(int(len(ids) * HELD_OUT), length + 2)
    if len(ids) < held + length + 2:
        raise SpikeletError(f"text {text} has {len(ids):,} tokens; windows of {length} to train "
                            f"on, and others to measure on, need {2 * (length + 2):,}: give more "
                            "text, or a shorter --length")
    return Windows(ids[:-held], batch, length), Windows(ids[-held:], batch, length)


def hardware() -> str:
    """The name of the processor or accelerator that trains, for records of results."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":")[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        pass
    return f"{model}, {torch.get_num_threads()} threads"


def tokenizer_file(given: Path | None, model: Path) -> Path:
    """The file of the tokenizer that the user named; by default the one in the model's folder.

    Raises:
        SpikeletError: none was named, and the folder has none or does not exist.
    """
    from golden.tokenizers.load import find_tokenizer

    if given is not None:
        return (find_tokenizer(given) or given) if given.is_dir() else given
    found = find_tokenizer(model) if model.is_dir() else None
    if found is None:
        if not model.exists():
            raise SpikeletError(f"checkpoint {model} does not exist: check the path")
        raise SpikeletError(f"{model} comes without a tokenizer: give --tokenizer")
    return found


def save(checkpoint: "Checkpoint", out: Path, words_file: Path) -> None:
    """Writes a checkpoint with its tokenizer, and the settings with which `transformers` reads it.

    Raises:
        SpikeletError: a file cannot be written.
    """
    from golden.checkpoints.atomic import replace_files
    from golden.checkpoints.checkpoint import save_checkpoint
    from golden.training.corpus import transformers_settings

    save_checkpoint(checkpoint, out, words_file)
    settings = transformers_settings(words_file, checkpoint.config.context)
    if settings is not None:
        text = json.dumps(settings, indent=2) + "\n"
        try:
            replace_files(out, {"tokenizer_config.json": lambda file: file.write(text.encode())})
        except OSError as error:
            raise SpikeletError(f"cannot write {out}/tokenizer_config.json: {error.strerror}"
                                ) from None


def write_results(folder: Path, stage: str, settings: "Settings", result: "Result",
                  values: dict[str, Any]) -> None:
    """Writes a stage's settings and results beside its checkpoint, as `<stage>.json`.

    Raises:
        SpikeletError: the file cannot be written.
    """
    record = {"stage": stage, "settings": asdict(settings), "hardware": hardware(),
              "loss": result.loss, "tokens_this_run": result.tokens,
              "seconds_this_run": round(result.seconds, 1), **values}
    try:
        (folder / f"{stage}.json").write_text(json.dumps(record, indent=2) + "\n")
    except OSError as error:
        raise SpikeletError(f"cannot write {folder / stage}.json: {error.strerror}") from None
