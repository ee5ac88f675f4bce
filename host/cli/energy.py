"""spikelet energy: what a token costs in spikes, against int8 multiply-accumulates."""

import json
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from host.cli.sources import (
    DEFAULT_CONFIGURATION,
    ModelOption,
    TokenizerOption,
    read_text,
    read_weights,
)
from host.cli.terminal import emit, print_grid, progress
from isa.configurations import CONFIGURATIONS, configuration
from isa.errors import SpikeletError

if TYPE_CHECKING:
    from golden.evaluation.energy import Census, Cost

SOURCE = """\
45 nm: int8 multiply 0.2 pJ, int32 add 0.1, int16 add 0.05; 64 bits out of 8 KB SRAM 10 pJ, out of
DRAM 1.3 to 2.6 nJ (M. Horowitz, "Computing's energy problem", ISSCC 2014). Accumulators count as
32 bits, potentials as 16, other products by their widths.
"""


def energy(
    text: Annotated[Path, typer.Option("--text", help="UTF-8 text; <|endoftext|> between "
                                                      "documents.")],
    model: ModelOption = None,
    tokenizer: TokenizerOption = None,
    config: Annotated[str, typer.Option("--config", "-c", help="Device whose lanes gather: "
                                        f"{', '.join(CONFIGURATIONS)}.")] = DEFAULT_CONFIGURATION,
    out: Annotated[Path | None, typer.Option("--json", help="Writes the figures there.")] = None,
) -> None:
    """Accumulates, bytes and energy of a token, on average over a text: spikes against int8.

    \b
    Example:
      spikelet energy --text stories.txt
    """
    lanes = configuration(config).lanes
    checkpoint, words = read_weights(model, tokenizer)
    content = read_text(text)

    import torch

    from golden.evaluation.energy import Census, costs
    from golden.evaluation.perplexity import LONGEST, split_documents
    from golden.quantisation.calibrate import quantise_calibrated
    from golden.spiking_model.model import SpikingModel

    documents = split_documents(content, words, min(LONGEST, checkpoint.config.context))
    with progress("calibrating", lines=False) as tell:
        tell(0.0, "")
        spiking = SpikingModel(quantise_calibrated(checkpoint, begin=words.begin))
    spiking.watch = census = Census(checkpoint.thresholds, lanes)
    with progress("counting") as tell:
        for n, ids in enumerate(documents):
            tell(n / len(documents), f"document {n + 1}/{len(documents)}")
            spiking(torch.tensor(ids))
    lengths = [len(ids) for ids in documents]
    table = costs(spiking, census, lengths)
    if out is not None:
        _write(out, table, census, lengths)
    print_grid(spike_rows(census), "spikes a neuron")
    emit(f"\none token, on average over {sum(lengths):,} of {text}\n")
    print_grid(cost_rows(table))
    emit(f"\n{SOURCE}\n")
    resident = sum(rows.outline.weight.size for name, rows in spiking.rows.items()
                   if name != "embedding")
    for line in verdict(table, census, sum(lengths), resident):
        emit(textwrap.fill(line, 100, initial_indent="- ", subsequent_indent="  ") + "\n")


def spike_rows(census: "Census") -> list[list[str]]:
    """A table of the spikes a neuron: into each projection, their means, into scores and mix."""
    from golden.decoder import MAPS

    schedules = census.schedules
    rows = [["into", "neurons fired", *schedules, "silent"]]

    def row(label: str, operators: list[str]) -> list[float]:
        parts = [census.fired[name] for name in operators if name in census.fired]
        neurons = max(sum(f.neurons for f in parts), 1)
        means = [sum(f.by[s].spikes for f in parts) / neurons for s in schedules]
        silent = 1 - (sum(f.by[schedules[-1]].needed for f in parts)
                      / max(sum(f.weights for f in parts), 1))
        rows.append([label, f"{neurons:,}", *(f"{m:.2f}" for m in means), f"{silent:.1%}"])
        return means

    each = [row(label, names) for label, names in (
        ("query, key, value", ["qkv"]), ("attention out", ["attended"]),
        ("gate, up", ["gate", "up"]), ("down", ["down"]), ("head", ["logits"]))]
    rows.append(["mean of these five", "", *(f"{sum(m) / len(m):.2f}" for m in zip(*each,
                                                                                strict=True)), ""])
    row("mean over their neurons", [m.result for m in MAPS.values()])
    row("scores", ["score"])
    row("mix", ["mixed"])
    return rows


def cost_rows(table: list["Cost"]) -> list[list[str]]:
    """A table with a row for each quantity and a column for each way to run a token."""
    first = table[0]

    def row(label: str, name: str, digits: int = 0) -> list[str]:
        return [label, *(f"{getattr(c, name):,.{digits}f}" for c in table)]

    def ratio(name: str) -> list[str]:
        return ["  against int8", *(f"{getattr(c, name) / getattr(first, name):.2f}"
                                    for c in table)]

    return [
        ["", *(c.name for c in table)],
        row("int8 multiplies", "multiplies"), row("accumulates", "accumulates"),
        row("spikes", "spikes"),
        row("multiplies and accumulates, nJ", "synapses", 1),
        row("neurons' steps, nJ", "neurons", 1),
        row("gains, scales, functions, nJ", "other", 1),
        row("arithmetic, nJ", "arithmetic", 1), ratio("arithmetic"),
        row("bytes, a row kept for its spikes", "bytes_held"),
        row("memory, nJ", "memory_held", 1), row("total, nJ", "total_held", 1),
        ratio("total_held"),
        row("bytes, a row read for each spike", "bytes_built"),
        row("memory, nJ", "memory_built", 1), row("total as built, nJ", "total_built", 1),
        ratio("total_built"),
    ]  # fmt: skip


def verdict(table: list["Cost"], census: "Census", positions: int, resident: int) -> list[str]:
    """What the figures say, in sentences.

    Args:
        table: the costs of the int8 baseline, then those of the schedules.
        census: the counts that the costs come from.
        positions: how many positions were counted.
        resident: bytes of all weights that a token needs. A host that streams them sends all.
    """
    from golden.evaluation.energy import ADD32, DRAM_BYTE, MULTIPLY8, SRAM_BYTE

    def times(name: str) -> str:
        ratio = getattr(c, name) / getattr(base, name)
        return f"{1 - ratio:.0%} less" if ratio <= 1 else f"{ratio:.2f} times as much"

    base, spiking = table[0], table[1:]
    weights = sum(fired.weights for fired in census.fired.values())
    even = (MULTIPLY8 + ADD32) / ADD32
    built = (MULTIPLY8 + ADD32 + SRAM_BYTE) / (ADD32 + SRAM_BYTE)
    lines = ["A spike is one addition a weight, int8 a multiplication and an addition: below "
             f"{even:.1f} spikes a neuron the additions are cheaper, {built:.2f} where a row is "
             "read from SRAM again for each spike."]
    for c in spiking:
        counted = census.total(c.name)
        lines.append(
            f"{c.name}: {counted.operations / weights:.2f} additions a weight. Against int8, "
            f"arithmetic takes {times('arithmetic')}; with memory, a row kept for all spikes of "
            f"its neuron, {times('total_held')}; as the device is built, {times('total_built')}. "
            f"It uses {counted.operations / max(counted.events * census.lanes, 1):.0%} of the "
            f"bytes in the rows of {census.lanes} lanes that it reads.")
    c = min(spiking, key=lambda c: c.bytes_held)
    low, high = (resident * each / 1000 for each in DRAM_BYTE)
    lines.append(f"Rows of silent neurons are {1 - c.bytes_held / base.bytes_held:.0%} of the "
                 "bytes; an int8 design that skips zeros saves the same.")
    lines.append(f"Streamed, all {resident:,} bytes of weights come from outside for every token, "
                 f"silent or not: {low:,.0f} to {high:,.0f} nJ of DRAM in every column, "
                 f"{low / base.total_held:.0f} times the baseline's total or more. There memory "
                 "decides, and spikes change little.")
    return lines


def _write(path: Path, table: list["Cost"], census: "Census", lengths: list[int]) -> None:
    """Writes the figures as JSON.

    Raises:
        SpikeletError: the file cannot be written.
    """
    content = {
        "documents": lengths, "lanes": census.lanes,
        "costs_a_token": [asdict(c) for c in table],
        "fired": {name: asdict(fired) for name, fired in census.fired.items()},
    }
    try:
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise SpikeletError(f"{path} cannot be written: {error.strerror}") from None
