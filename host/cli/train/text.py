"""spikelet train sample, spikelet train tokenizer: what training reads."""

import time
from pathlib import Path
from typing import Annotated

import typer

from host.cli.sources import TokenizerOption
from host.cli.terminal import emit, progress
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
    from golden.model.tokenizer import find_tokenizer
    from golden.training.sample import sample_file

    if tokens < 1 or temperature <= 0 or (workers is not None and workers < 1):
        raise SpikeletError("--tokens, --workers and --temperature must be above 0")
    words = tokenizer or (find_tokenizer(teacher) if teacher.is_dir() else None)
    if words is None:
        raise SpikeletError(f"{teacher} comes without a tokenizer: give --tokenizer")
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
    import json

    from golden.training.corpus import train_tokenizer

    try:
        out.mkdir(parents=True, exist_ok=True)
        with progress("tokenizer", lines=False) as tell:
            tell(0.0, f"{vocab:,} tokens")
            train_tokenizer(text, vocab, out / "tokenizer.json")
        if not (out / "config.json").exists():
            (out / "config.json").write_text(json.dumps({"bos_token_id": 0, "eos_token_id": 0}))
    except FileExistsError:
        raise SpikeletError(f"{out} is a file: give a folder") from None
    emit(f"{out / 'tokenizer.json'}: {vocab:,} tokens\n")
