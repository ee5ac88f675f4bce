"""spikelet train sample and spikelet train tokenizer: make what training reads."""

import json
import math
import time
from pathlib import Path
from typing import Annotated

import typer

from host.cli.sources import TokenizerOption
from host.cli.terminal import emit, progress
from host.cli.train.common import make_folder, tokenizer_file
from isa.errors import SpikeletError


def sample(
    teacher: Annotated[Path, typer.Option("--teacher", help="Checkpoint that writes the text.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Text file to write.")],
    tokenizer: TokenizerOption = None,
    tokens: Annotated[int, typer.Option(help="Tokens of the teacher to write.")] = 8_000_000,
    seed: Annotated[int, typer.Option(help="Seed of the sampling.")] = 0,
    temperature: Annotated[float, typer.Option(help="1: the teacher's own distribution.")] = 1.0,
    workers: Annotated[int | None, typer.Option(help="Worker processes; default: one for each "
                                                     "processor core.")] = None,
) -> None:
    """Writes text that a teacher checkpoint tells; goes on where it was interrupted.

    \b
    Example:
      spikelet train sample --teacher stories260K.bin -t tok512.bin --out stories.txt
    """
    from golden.training.sample import sample_file

    for name, value in (("tokens", tokens), ("workers", workers), ("temperature", temperature)):
        if value is not None and not 0 < value < math.inf:
            raise SpikeletError(f"--{name} is {value:g}: give a number above 0")
    words = tokenizer_file(tokenizer, teacher)
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise SpikeletError(f"cannot write {out}: give a file in a folder that exists")
    start = time.perf_counter()
    with progress("sampling", lines=False) as tell:
        done = sample_file(teacher, words, out, tokens, seed, temperature, workers,
                           lambda n: tell(min(1.0, n / tokens), f"{n:,}/{tokens:,} tokens"))
    seconds = time.perf_counter() - start
    emit(f"{out}: {out.stat().st_size:,} bytes, {done:,} tokens of the teacher ({seconds:.0f} s)\n")


def tokenizer(
    text: Annotated[Path, typer.Option("--text", help="UTF-8 text; <|endoftext|> between "
                                                      "documents.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for tokenizer.json.")],
    vocab: Annotated[int, typer.Option(help="Tokens, the 256 bytes among them.")] = 1024,
) -> None:
    """Makes a byte-level byte-pair tokenizer for a text.

    \b
    Example:
      spikelet train tokenizer --text stories.txt --out stories
    """
    from golden.training.corpus import train_tokenizer

    make_folder(out)
    with progress("tokenizer", lines=False) as tell:
        tell(0.0, f"{vocab:,} tokens")
        train_tokenizer(text, vocab, out / "tokenizer.json")
    if not (out / "config.json").exists():
        (out / "config.json").write_text(json.dumps({"bos_token_id": 0, "eos_token_id": 0}))
    emit(f"{out / 'tokenizer.json'}: {vocab:,} tokens\n")
