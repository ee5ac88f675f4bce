"""spikelet train quantised: stage 1, quantisation-aware training."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from host.cli.sources import TokenizerOption
from host.cli.terminal import print_table, progress
from host.cli.train import common
from host.cli.train.common import EVERY
from isa.errors import SpikeletError


def quantised(
    out: common.FolderOption,
    text: Annotated[Path | None, typer.Option("--text", help="UTF-8 text to learn; default: what "
                                              "the teacher writes.")] = None,
    tokenizer: TokenizerOption = None,
    init: Annotated[Path | None, typer.Option("--init", help="Checkpoint to begin with; default: "
                                              "untrained weights.")] = None,
    teacher: Annotated[Path | None, typer.Option("--teacher", help="Checkpoint that writes the "
                                                 "text, or whose logits are learned.")] = None,
    teacher_tokenizer: Annotated[Path | None, typer.Option(help="The teacher's tokenizer; default: "
                                                           "the one in its folder.")] = None,
    sample_tokens: Annotated[int, typer.Option(help="Tokens that the teacher writes when there is "
                                               "no --text.")] = 8_000_000,
    distil: common.DistilOption = 0.0,
    vocab: Annotated[int, typer.Option(help="Tokens of the tokenizer that is made when none is "
                                            "given.")] = 1024,
    dim: Annotated[int, typer.Option(help="Width of the residual stream.")] = 64,
    hidden: Annotated[int, typer.Option(help="Width of the gated unit.")] = 192,
    layers: Annotated[int, typer.Option(help="Decoder layers.")] = 4,
    heads: Annotated[int, typer.Option(help="Query heads.")] = 4,
    kv_heads: Annotated[int, typer.Option(help="Key/value heads.")] = 2,
    head_dim: Annotated[int, typer.Option(help="Width of a head.")] = 16,
    attention: Annotated[str, typer.Option(help="softmax, or gate: without softmax.")] = "softmax",
    tied: Annotated[bool, typer.Option("--tied", help="The head is the embedding.")] = False,
    steps: common.StepsOption = 5500,
    batch: common.BatchOption = 32,
    length: common.LengthOption = 256,
    rate: Annotated[float, typer.Option(help="Peak learning rate of matrices.")] = 0.02,
    float_share: Annotated[float, typer.Option(help="Share of the steps that run in float before "
                                               "the quantisers come in.")] = 0.9,
    seed: common.SeedOption = 0,
    compiled: Annotated[bool, typer.Option("--compiled", help="Compile the step (needs a C++ "
                                           "compiler): half a minute, then faster.")] = False,
) -> None:
    """Stage 1: quantisation-aware training, from nothing or from a checkpoint.

    The same command goes on after an interrupt. It runs on CUDA where there is one.

    \b
    Examples:
      spikelet train quantised --text stories.txt --out stories
      spikelet train quantised --teacher stories260K.bin --teacher-tokenizer tok512.bin --out tales
    """
    from golden.checkpoints.checkpoint import load_checkpoint
    from golden.tokenizers.load import load_tokenizer
    from golden.training.initial import untrained
    from golden.training.measure import measure
    from golden.training.quantised_stage import QUANTISED, train_quantised
    from golden.training.settings import Settings

    common.check(steps, batch, length, rate, distil)
    if not 0 <= float_share <= 1:
        raise SpikeletError(f"--float-share is {float_share:g}: give a number in 0..1")
    if distil and teacher is None:
        raise SpikeletError("--distil learns a teacher's distribution: give --teacher")
    if text is None and teacher is None:
        raise SpikeletError("there is nothing to learn: give --text, or a --teacher that writes it")
    if sample_tokens < 1:
        raise SpikeletError(f"--sample-tokens is {sample_tokens}: give a number above 0")
    shape = _config(dim, hidden, layers, heads, kv_heads, head_dim, vocab, length, attention, tied)
    guide = None if teacher is None else load_checkpoint(teacher)
    start = None if init is None else load_checkpoint(init)
    common.make_folder(out)
    if text is None:
        text = _sampled(teacher, teacher_tokenizer, out, sample_tokens, seed)
    if distil and tokenizer is None and init is None:
        tokenizer = common.tokenizer_file(teacher_tokenizer, teacher)
    words_file = _tokenizer(tokenizer, init, text, out, vocab)
    words = load_tokenizer(words_file, None if start is None else start.config.vocab)
    if start is None:
        start = untrained(replace(shape, vocab=words.vocab), seed)
    training, held = common.windows(text, words, out, batch, min(length, start.config.context))
    settings = Settings(steps, batch, training.length, rate, float_share=float_share,
                        distil=distil, seed=seed)
    with progress("stage 1", every=EVERY) as tell:
        checkpoint, result = train_quantised(start, training, settings, out,
                                             guide if distil else None, compiled, tell)
    common.save(checkpoint, out, words_file)

    from golden.quantisation.network import QuantisedNetwork

    found = measure(QuantisedNetwork(checkpoint), held)
    common.write_results(out, QUANTISED, settings, result, {
        "held_out_perplexity": found.perplexity, "spikes": found.spikes})
    print_table([
        ("checkpoint", str(out)),
        ("steps", f"{result.steps:,} of {batch} x {training.length} tokens"),
        ("training loss", f"{result.loss:.4f} nats a token"),
        ("held-out perplexity", f"{found.perplexity:.4f} a token"),
        ("signed spikes a neuron", f"{found.spikes:.2f} (mean over projections)"),
        ("this run", f"{result.tokens:,} tokens in {result.seconds:.0f} s on {common.hardware()}"),
    ])  # fmt: skip


def _config(dim: int, hidden: int, layers: int, heads: int, kv_heads: int, head_dim: int,
            vocab: int, context: int, attention: str, tied: bool):
    from golden.checkpoints.config import Attention, ModelConfig

    if attention not in Attention.__members__:
        raise SpikeletError(f"--attention is '{attention}': use softmax or gate")
    return ModelConfig(dim, hidden, layers, heads, kv_heads, head_dim, vocab, context, tied=tied,
                       attention=Attention(attention))


def _sampled(teacher: Path, tokenizer: Path | None, out: Path, tokens: int,
             seed: int) -> Path:
    """The text that the teacher writes into the run's folder, once."""
    text = out / "teacher.txt"
    if not text.exists():
        from host.cli.train.text import sample

        sample(teacher, text, tokenizer, tokens, seed)
    return text


def _tokenizer(given: Path | None, init: Path | None, text: Path, out: Path, vocab: int) -> Path:
    """The tokenizer's file: the one given, that of the first checkpoint, or a new one.

    Raises:
        SpikeletError: a tokenizer from an earlier run in this folder has another vocabulary.
    """
    from golden.tokenizers.load import load_tokenizer

    if given is not None or init is not None:
        return common.tokenizer_file(given, init or out)
    made = out / "tokenizer.json"
    if not made.exists():
        from host.cli.train.text import tokenizer

        tokenizer(text, out, vocab)
    has = load_tokenizer(made).vocab
    if has != vocab:
        raise SpikeletError(f"{made} has {has} tokens, not {vocab}: give --vocab {has}, another "
                            "--out, or delete it")
    return made
