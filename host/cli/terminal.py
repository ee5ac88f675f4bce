"""What the commands print: text, tables, progress and errors."""

import contextlib
import io
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from isa.errors import SpikeletError

if TYPE_CHECKING:
    from rich.table import Table

Tell = Callable[[float, str], None]
"""Called with how much is done (0..1) and what is being done."""


def fail(message: str, status: int) -> int:
    """Prints an error as one line on the standard error stream, and returns `status`."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # nobody may be reading it
        print(f"spikelet: {' '.join(message.split())}", file=sys.stderr, flush=True)
    return status


def emit(text: str) -> None:
    """Writes text to standard output at once; characters that it cannot encode become "?".

    Raises:
        SpikeletError: the output is closed.
    """
    if sys.stdout is None:
        raise SpikeletError("there is no output to write to")
    encoding = sys.stdout.encoding or "utf-8"
    try:
        sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        # Else what is left in the buffer would fail once more when the interpreter ends.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SpikeletError("the output was closed before the end") from None


def note(message: str) -> None:
    """Prints a line for people, on the standard error stream, so that output stays data."""
    print(message, file=sys.stderr, flush=True)


def print_table(rows: Sequence[tuple[str, str]], title: str | None = None) -> None:
    """Prints a table of names and values."""
    print_grid([[name, value] for name, value in rows], title)


def print_grid(rows: Sequence[Sequence[str]], title: str | None = None) -> None:
    """Prints a table whose first column is names; plain text where there is no terminal."""
    from rich.console import Console

    text = io.StringIO()
    terminal = sys.stdout is not None and sys.stdout.isatty()
    width = None if terminal else 100
    console = Console(file=text, force_terminal=terminal, width=width, markup=False,
                      highlight=False, emoji=False)
    console.print(_grid(rows, title))
    emit("\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n")


def _grid(rows: Sequence[Sequence[str]], title: str | None) -> "Table":
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False, title=title, title_justify="left")
    table.add_column(no_wrap=True)
    for _ in rows[0][1:]:
        table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


class LiveGrid:
    """A table that is updated in place on a terminal. Elsewhere its last state is printed."""

    def __init__(self, title: str) -> None:
        self._title, self._rows, self._live = title, None, None

    def __enter__(self) -> "LiveGrid":
        if sys.stdout is not None and sys.stdout.isatty():
            from rich.live import Live

            self._live = Live(auto_refresh=False)
            self._live.start()
        return self

    def show(self, rows: Sequence[Sequence[str]]) -> None:
        """Gives the table new rows in the place of the old ones."""
        self._rows = rows
        if self._live is not None:
            self._live.update(_grid(rows, self._title), refresh=True)

    def __exit__(self, *exception: object) -> None:
        if self._live is not None:
            self._live.stop()
        elif self._rows is not None:
            print_grid(self._rows, self._title)


@contextmanager
def progress(title: str, lines: bool = True, every: float | None = None) -> Iterator[Tell]:
    """Shows the progress of work: a bar on a terminal, elsewhere a line for each new stage.

    Nothing is shown before the first call of the function that this gives.

    Args:
        title: what the work is.
        lines: whether to write lines where there is no terminal.
        every: seconds between two lines where there is no terminal, in the place of one for each
            stage.
    """
    if sys.stderr is not None and sys.stderr.isatty():
        with _bar(title) as tell:
            yield tell
        return
    stages: list[str] = []
    last = -math.inf

    def tell(fraction: float, stage: str) -> None:
        nonlocal last
        if every is not None:
            if time.monotonic() - last >= every:
                last = time.monotonic()
                note(f"{title}: {stage}")
            return
        name = stage.split(" ")[0]  # "compile 3/20" and "compile 4/20" are one stage
        if lines and name not in stages:
            stages.append(name)
            note(f"{title}: {stage}" if stage else title)

    yield tell


@contextmanager
def _bar(title: str) -> Iterator[Tell]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[stage]}"),
               TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as display:
        task = None

        def tell(fraction: float, stage: str) -> None:
            nonlocal task
            if task is None:
                task = display.add_task(title, total=1.0, stage=stage)
            display.update(task, completed=fraction, stage=stage)

        yield tell
