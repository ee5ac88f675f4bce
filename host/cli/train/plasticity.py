"""spikelet train plasticity: stage 3, fewer spikes at the same quality."""

import math
from pathlib import Path
from typing import Annotated

import typer

from host.cli.sources import TokenizerOption
from host.cli.terminal import note, print_grid, print_table, progress
from host.cli.train import common
from host.cli.train.common import EVERY
from isa.errors import SpikeletError
from isa.formats import CODE_PHASES


def plasticity(
    model: Annotated[Path, typer.Option("--model", "-m", help="Checkpoint that stage 1 made, or an "
                                     "earlier stage 3.")],
    text: common.TextOption,
    out: common.FolderOption,
    tokenizer: TokenizerOption = None,
    teacher: Annotated[Path | None, typer.Option("--teacher", help="Checkpoint whose distribution "
                                                 "is learned and whose perplexity is compared "
                                                 "with; default: --model.")] = None,
    spikes: Annotated[float, typer.Option(help="S_target: signed spikes a neuron, mean over "
                                               "projections.")] = 1.25,
    steps: common.StepsOption = 600,
    batch: common.BatchOption = 32,
    length: common.LengthOption = 256,
    rate: Annotated[float, typer.Option(help="Peak learning rate of matrices.")] = 0.004,
    distil: common.DistilOption = 0.5,
    seed: common.SeedOption = 0,
    eta_theta: Annotated[float, typer.Option(help="Rate of the thresholds' local rule.")] = 0.2,
    neuron_rate: Annotated[float, typer.Option(help="Step of theta_base along the loss's "
                                               "gradient; alpha takes a tenth.")] = 0.02,
    eta_w: Annotated[float, typer.Option(help="Rate of the synapses' spike-timing rule.")] = 0.0,
    lambda_neuron: Annotated[float, typer.Option(help="Weight of (S - S_target)^2.")] = 0.1,
    lambda_potential: Annotated[float, typer.Option(help="Weight of (V - V_target)^2.")] = 0.0,
    lambda_time: Annotated[float, typer.Option(help="Weight of (T - T_target)^2, T the expected "
                                               "phase of the first spike.")] = 0.0,
    lambda_c: Annotated[float, typer.Option(help="Weight of the sums of weights.")] = 0.0,
    compiled: Annotated[bool, typer.Option("--compiled", help="Compile the step first (takes a "
                                           "minute, then runs faster; needs a C++ compiler).",
                                           )] = False,
    ablation: Annotated[bool, typer.Option("--ablation", help="Instead of training once, train "
                                           "with each term alone left out or put in, and compare "
                                           "(a table).")] = False,
) -> None:
    """Stage 3: plasticity under the task's signal, for fewer spikes at the same quality.

    The same command goes on after an interrupt.

    \b
    Examples:
      spikelet train plasticity --model stage1 --text stories.txt --out stories
      spikelet train plasticity --model stage1 --text stories.txt --out trial --ablation --steps 150
    """
    from golden.checkpoints.checkpoint import load_checkpoint
    from golden.tokenizers.load import load_tokenizer
    from golden.training.plasticity import Rules
    from golden.training.settings import Settings

    common.check(steps, batch, length, rate, distil)
    _check(spikes, {"eta-theta": eta_theta, "neuron-rate": neuron_rate, "eta-w": eta_w,
                    "lambda-neuron": lambda_neuron,
                    "lambda-potential": lambda_potential, "lambda-time": lambda_time,
                    "lambda-c": lambda_c})
    if compiled and ablation:
        raise SpikeletError("--ablation compares terms that --compiled is without: leave one out")
    if out.resolve() == model.resolve():
        raise SpikeletError("--out is the folder of --model, which stage 3 begins with and is "
                            "compared to: give another folder")
    start = load_checkpoint(model)
    words_file = common.tokenizer_file(tokenizer, model)
    words = load_tokenizer(words_file, start.config.vocab)
    common.make_folder(out)
    training, held = common.windows(text, words, out, batch, min(length, start.config.context))
    rules = Rules(S_target=spikes, eta_theta=eta_theta, eta_w=eta_w, lambda_neuron=lambda_neuron,
                  lambda_potential=lambda_potential, lambda_time=lambda_time, lambda_C=lambda_c)
    settings = Settings(steps, batch, training.length, rate, neuron_rate=neuron_rate,
                        distil=distil, seed=seed)

    from golden.quantisation.network import QuantisedNetwork
    from golden.training.measure import measure

    guide = start if teacher is None else load_checkpoint(teacher)
    if guide.config.vocab != start.config.vocab:
        raise SpikeletError(f"the teacher has {guide.config.vocab} tokens, the model "
                            f"{start.config.vocab}: give a teacher with the same tokenizer")
    before = measure(QuantisedNetwork(guide), held)
    if ablation:
        _ablate(start, training, held, settings, rules, out, before)
        return

    from golden.training.plasticity_stage import PLASTICITY, train_plasticity

    with progress("stage 3", every=EVERY) as tell:
        checkpoint, result = train_plasticity(start, training, settings, rules, out, tell=tell,
                                              teacher=guide, compiled=compiled)
    common.save(checkpoint, out, words_file)
    after = measure(QuantisedNetwork(checkpoint), held)
    common.write_results(out, PLASTICITY, settings, result, {
        "held_out_perplexity": [before.perplexity, after.perplexity],
        "spikes": [before.spikes, after.spikes],
        "thresholds": {str(p): t for p, t in checkpoint.thresholds.items()}})
    print_grid([
        ["", "before", "after", "change"],
        ["held-out perplexity a token", f"{before.perplexity:.4f}", f"{after.perplexity:.4f}",
         f"{after.perplexity / before.perplexity - 1:+.2%}"],
        ["signed spikes a neuron, mean over projections", f"{before.spikes:.2f}",
         f"{after.spikes:.2f}", f"{after.spikes / before.spikes - 1:+.1%}"],
        *([f"  into {p}", f"{before.by_population[p]:.2f}", f"{after.by_population[p]:.2f}", ""]
          for p in before.by_population),
    ])
    print_table([
        *((f"thresholds of {p}, phases 7..0", ", ".join(map(str, t)))
          for p, t in checkpoint.thresholds.items()),
        ("this run", f"{result.tokens:,} tokens in {result.seconds:.0f} s on {common.hardware()}"),
    ])


def _check(spikes: float, strengths: dict[str, float]) -> None:
    """Raises SpikeletError for a goal or a strength, by its option's name, that cannot be."""
    if not 0 < spikes <= CODE_PHASES:
        raise SpikeletError(f"--spikes is {spikes:g}: give a number above 0, at most {CODE_PHASES}")
    for name, value in strengths.items():
        if not 0 <= value < math.inf:
            raise SpikeletError(f"--{name} is {value:g}: give a number of 0 or more")


def _ablate(start, training, held, settings, rules, out: Path, before) -> None:
    """Trains every variant from the same start, and prints the quality and spikes of each."""
    from golden.quantisation.network import QuantisedNetwork
    from golden.training.ablation import variants
    from golden.training.measure import measure
    from golden.training.plasticity_stage import train_plasticity

    rows = [["stage 1", f"{before.perplexity:.4f}", "", f"{before.spikes:.2f}"]]
    trials = variants(settings, rules)
    for n, (name, its_settings, its_rules) in enumerate(trials):
        note(f"variant {n + 1}/{len(trials)}: {name}")
        with progress(f"{n + 1}/{len(trials)}", every=EVERY) as tell:
            checkpoint, _ = train_plasticity(start, training, its_settings, its_rules, out,
                                             f"ablation-{n}", tell)
        found = measure(QuantisedNetwork(checkpoint), held)
        rows.append([name, f"{found.perplexity:.4f}",
                     f"{found.perplexity / before.perplexity - 1:+.2%}", f"{found.spikes:.2f}"])
    print_grid([["variant", "held-out perplexity", "change", "spikes a neuron"], *rows])
