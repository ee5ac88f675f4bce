"""spikelet train: makes a text and a tokenizer, and runs the three stages of training."""

import typer

from host.cli.train.conversion import convert
from host.cli.train.plasticity import plasticity
from host.cli.train.quantised import quantised
from host.cli.train.text import sample, tokenizer

app = typer.Typer(
    help="""Trains a model: quantised, converted to neurons, and made to fire less by plasticity.

    \b
    Examples:
      spikelet train quantised --text stories.txt --out stage1
      spikelet train convert --model stage1 --text stories.txt
      spikelet train plasticity --model stage1 --text stories.txt --out mine
    """,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
)
app.command("sample")(sample)
app.command("tokenizer")(tokenizer)
app.command("quantised")(quantised)
app.command("convert")(convert)
app.command("plasticity")(plasticity)
