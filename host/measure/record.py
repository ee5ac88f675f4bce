"""Measures figures again and records them.

    python -m host.measure.record                                     # lists the runs
    python -m host.measure.record energy.ships cycles.ships --text F  # runs these two

A run of `docs/figures.json` has a command and, for each figure, a regular expression that finds the
number in the command's output, as its group. This program runs the command and enters the numbers,
today's date and the commit into the record. Then it writes the numbers into the documents
(`host.measure.figures`). M, T and F in a command stand for a checkpoint, its tokenizer and a text.
A run whose figures have no such expression is entered by hand, as its `note` explains.

Nothing is recorded unless the command succeeds and every number of the run is found.
"""

import datetime
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from host.measure import figures
from isa.errors import SpikeletError

_PROGRAMS = {
    "spikelet": [sys.executable, "-m", "host.cli"],
    "pytest": [sys.executable, "-m", "pytest", "-n", "0"],
    "python": [sys.executable],
}


def arguments(command: str, files: dict[str, Path | None]) -> list[str]:
    """A recorded command as this Python runs it, with `files` in the place of M, T and F.

    Raises:
        SpikeletError: the command needs a file that is not given.
    """
    first, *rest = shlex.split(command)
    for letter, path in files.items():
        if letter in rest and path is None:
            raise SpikeletError(f"`{command}` needs a file for {letter}: give its option")
    return [*_PROGRAMS.get(first, [first]), *(str(files.get(word) or word) for word in rest)]


def find(name: str, pattern: str, output: str) -> float:
    """The number that the pattern's group matches; where it matches several times, the last.

    Raises:
        SpikeletError: the pattern matches nowhere.
    """
    found = re.findall(pattern, output, re.MULTILINE)
    if not found:
        raise SpikeletError(f"the output shows no '{name}': nothing matches {pattern!r}")
    text = found[-1].replace(",", "")
    return float(text) if "." in text else int(text)


def commit(root: Path) -> str:
    """The commit of a tree, with a plus sign behind it where the tree's code differs from it."""
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True).stdout

    changed = git("status", "--porcelain", "--", "isa", "golden", "hdl", "sim", "host", "tests")
    return (git("rev-parse", "--short", "HEAD").strip() or "unknown") + "+" * bool(changed)


def measure(name: str, run: dict, files: dict[str, Path | None], root: Path) -> None:
    """Runs the command of a run and enters the numbers, commit and date into `run`.

    Raises:
        SpikeletError: the command fails, a number is missing, or the run is entered by hand.
    """
    wanted = {figure: f.get("find") for figure, f in run["figures"].items()}
    if not all(wanted.values()):
        raise SpikeletError(f"'{name}' is entered by hand: {run.get('note', 'no note')}")
    done = subprocess.run(arguments(run["command"], files), cwd=root, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env=os.environ | {"PYTHONPATH": str(root)})
    print(done.stdout)
    if done.returncode:
        raise SpikeletError(f"`{run['command']}` ended with status {done.returncode}")
    found = {figure: find(figure, pattern, done.stdout) for figure, pattern in wanted.items()}
    for figure, value in found.items():
        run["figures"][figure]["value"] = value
    run["commit"], run["date"] = commit(root), datetime.date.today().isoformat()
    run.pop("note", None)


def main(
    runs: Annotated[list[str] | None, typer.Argument(help="runs; none: they are listed")] = None,
    model: Annotated[Path | None, typer.Option(help="for M: a checkpoint")] = None,
    tokenizer: Annotated[Path | None, typer.Option(help="for T: its tokenizer")] = None,
    text: Annotated[Path | None, typer.Option(help="for F: a text")] = None,
    note: Annotated[str | None, typer.Option(help="what else the machine did, and so on")] = None,
) -> None:
    """Measures figures again and records them in docs/figures.json and the documents."""
    record = json.loads(figures.PATH.read_text(encoding="utf-8"))
    if not runs:
        for name, run in record["runs"].items():
            by_hand = "" if all("find" in f for f in run["figures"].values()) else " (by hand)"
            print(f"{name}: {run['command']}{by_hand}")
        return
    files = {letter: path and path.resolve()
             for letter, path in (("M", model), ("T", tokenizer), ("F", text))}
    for name in runs:
        if name not in record["runs"]:
            raise SpikeletError(f"there is no run '{name}'; without a name they are listed")
        measure(name, record["runs"][name], files, figures.ROOT)
        if note:
            record["runs"][name]["note"] = note
        figures.save(record)
    for path in figures.write(figures.load()):
        print(f"{path.relative_to(figures.ROOT)} changed")


if __name__ == "__main__":
    typer.run(main)
