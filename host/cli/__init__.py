"""The command line: models (`spikelet generate`, `compile`, ...) and boards (`devices`, ...).

A user's mistake gives one line on the standard error stream and exit code 2; Ctrl-C gives a word
and 130. Commands import what they need when they run, so that `spikelet --help` does not wait for
PyTorch or Amaranth. The docstrings of commands are their help texts.
"""

import os
import sys
from collections.abc import Sequence

import typer

from host.cli import (
    board_sim,
    build,
    convert,
    devices,
    energy,
    evaluate,
    flash,
    generate,
    info,
    selftest,
    stats,
    train,
)
from host.cli import compile as compile_command
from host.cli.terminal import fail
from isa.errors import SpikeletError

USER_ERROR = 2
INTERRUPTED = 130

# Newer versions of typer have a copy of click's exceptions of their own, older ones use click's.
_UsageProblem = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")

app = typer.Typer(
    name="spikelet",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _spikelet(context: typer.Context) -> None:
    """A spiking language-model core for FPGAs: its golden model, its simulation, its host.

    \b
    Example:
      spikelet generate --prompt "Once upon a time"
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


app.command("generate")(generate.generate)
app.command("compile")(compile_command.compile_image)
app.command("convert")(convert.convert)
app.command("eval")(evaluate.evaluate)
app.command("energy")(energy.energy)
app.command("info")(info.info)
app.command("build")(build.build)
app.command("flash")(flash.flash)
app.command("board-sim")(board_sim.board_sim)
app.command("devices")(devices.devices)
app.command("selftest")(selftest.selftest)
app.command("stats")(stats.stats)
app.add_typer(train.app, name="train")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command, by default that of sys.argv, and returns the exit code."""
    # Else PyTorch's threads spin while they wait, and a busy machine takes ten times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        status = app(arguments, prog_name="spikelet", standalone_mode=False)
    except SpikeletError as error:
        return fail(str(error), USER_ERROR)
    except _UsageProblem as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "spikelet"
        message = error.format_message().replace("Value error, ", "").rstrip(".")
        return fail(f"{message} (see {command} --help)", USER_ERROR)
    except OSError as error:  # such as a full disk, which the system explains best
        where = f" ({error.filename})" if error.filename else ""
        return fail(f"{error.strerror or error}{where}", USER_ERROR)
    except KeyboardInterrupt:
        status = INTERRUPTED
    if status == INTERRUPTED:
        return fail("interrupted", INTERRUPTED)
    return status or 0


if __name__ == "__main__":
    sys.exit(main())
