"""spikelet info: what a model, an image or a configuration is."""

import math
from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

from host.cli import sources
from host.cli.terminal import print_grid, print_table
from isa.configurations import CONFIGURATIONS, Configuration
from isa.errors import SpikeletError


def info(
    target: Annotated[str | None, typer.Argument(help="A checkpoint (file or folder), an image, or "
                                                      "the name of a configuration.")] = None,
) -> None:
    """Describes a model, an image or a configuration; without one, lists what comes along.

    \b
    Examples:
      spikelet info stories
      spikelet info ulx3s
    """
    shipped = sources.SHIPPED_MODEL
    if target is None:
        rows = [[c.name, c.description, f"context {c.context}"] for c in CONFIGURATIONS.values()]
        if shipped.is_dir():
            rows.append([shipped.name, "the model that ships", ""])
        print_grid(rows)
    elif target in CONFIGURATIONS:
        _configuration(CONFIGURATIONS[target])
    elif not Path(target).exists() and target == shipped.name and shipped.is_dir():
        _checkpoint(shipped)
    elif not Path(target).exists():
        raise SpikeletError(f"'{target}' is neither a file nor a configuration "
                            f"({', '.join(CONFIGURATIONS)}): check the name")
    else:
        from isa.image import is_image

        (_image if is_image(target) else _checkpoint)(Path(target))


def _configuration(c: Configuration) -> None:
    row_bytes = c.row_depth * c.cores * c.lanes
    rows = [("configuration", f"{c.name}: {c.description}")]
    rows += [(f.name.replace("_", " "), f"{getattr(c, f.name):,}")
             for f in fields(c) if f.name not in ("name", "description")]
    rows += [("weights and keys in rows", f"{row_bytes:,} bytes"),
             ("additions a cycle", f"{c.cores * c.lanes:,} at most"),
             ("identity", f"{c.identity:08x}")]
    print_table(rows)


def _checkpoint(path: Path) -> None:
    from golden.checkpoints.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(path)
    c = checkpoint.config
    tied = {"head"} if c.tied else set()  # the head is the embedding, counted once
    parameters = sum(math.prod(shape) for name, shape in c.weight_shapes().items()
                     if name not in tied)
    print_table([
        ("checkpoint", str(path)),
        ("parameters", f"{parameters:,}"),
        ("layers", f"{c.layers}"),
        ("dimension", f"{c.dim:,}"),
        ("hidden", f"{c.hidden:,}"),
        ("heads", f"{c.heads} query, {c.kv_heads} key/value, size {c.head_dim}"),
        ("vocabulary", f"{c.vocab:,} tokens, head {'tied' if c.tied else 'not tied'}"),
        ("context", f"{c.context:,}"),
        ("biases", "in q, k and v" if c.qkv_bias else "none"),
        ("rotary base", f"{c.rope_theta:g}"),
        ("norm epsilon", f"{c.norm_epsilon:g}"),
        ("attention", str(c.attention)),
        *(("thresholds of " + population, ", ".join(map(str, values)))
          for population, values in checkpoint.thresholds.items()),
        *([("tensors without use", ", ".join(checkpoint.unused))] if checkpoint.unused else []),
    ])  # fmt: skip


def _image(path: Path) -> None:
    from isa.image import load_image

    image = load_image(path)
    words: Counter[str] = Counter()
    for section in image.sections:
        words[section.space.name.lower()] += section.words.size
    end = image.end_token
    print_table([
        ("image", f"{path}: {path.stat().st_size:,} bytes, contract {image.contract}"),
        ("configuration", f"{image.configuration} ({image.identity:08x})"),
        *((name.replace("_", " "), f"{value}") for name, value in image.model.items()
          if isinstance(value, int | str)),
        ("context on this device", f"{image.context}"),
        ("end token", "none" if end is None else f"{end}"),
        ("loaded", f"{image.loaded_words:,} words: "
                   + ", ".join(f"{name} {count:,}" for name, count in words.items())),
        ("streamed a token", f"{image.streamed_words:,} words"),
    ])  # fmt: skip
