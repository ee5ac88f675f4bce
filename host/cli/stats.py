"""spikelet stats: shows what the device counts while it generates."""

import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from host.cli.device import Device, DeviceKind, DeviceOption, board_configuration, open_device
from host.cli.prepare import prepare
from host.cli.sources import ConfigurationOption, TokenizerOption
from host.cli.terminal import LiveGrid
from isa.errors import SpikeletError

if TYPE_CHECKING:
    from host.transport import Transport

Rows = list[list[str]]

UNITS = {
    "cycles": "cycles", "tokens": "positions", "neurons": "neurons", "spikes": "spikes",
    "events": "rows", "synaptic_operations": "additions", "rows_streamed": "rows",
    "saturations": "results",
}  # fmt: skip
"""What a counter counts; those that end in `cycles` count cycles."""


def stats(
    device: DeviceOption = "sim",
    model: Annotated[Path | None, typer.Option("--model", "-m", help="Checkpoint or compiled "
                                               "image. Default: the model that ships.")] = None,
    tokenizer: TokenizerOption = None,
    config: ConfigurationOption = None,
    prompt: Annotated[str, typer.Option("--prompt", "-p",
                                        help="Text to continue meanwhile.")] = "Once upon a time",
    max_new_tokens: Annotated[int, typer.Option(help="Tokens to generate at most.")] = 64,
    idle: Annotated[bool, typer.Option("--idle", help="Start nothing: read the counters of a "
                                                      "board once.")] = False,
) -> None:
    """Generates and shows meanwhile what the device counts, a second and a token.

    A serial port has one user at a time: the command that reads the counters is the one that
    generates. With --idle it opens a session, which resets the counters, and shows what is there.

    \b
    Example:
      spikelet stats --device serial:/dev/ttyUSB0
    """
    chosen = Device.parse(device)
    if idle:
        if chosen.kind is not DeviceKind.serial:
            raise SpikeletError("--idle reads a board: use --device serial:PATH")
        with open_device(chosen) as board:
            _read_once(board)
        return
    if not prompt.strip():
        raise SpikeletError("the prompt is empty: give --prompt some text")

    with ExitStack() as stack:
        ready = prepare(stack, chosen, prompt, max_new_tokens, model, tokenizer, config)
        driver = ready.load()
        start = time.monotonic()
        with LiveGrid(f"{ready.image.configuration} on {device}") as grid:
            def show(counters: dict[str, int]) -> None:
                seconds = time.monotonic() - start
                grid.show(counter_rows(counters, seconds, ready.transport.clock_hz))

            result = driver.generate(ready.prompt, max_new_tokens, watch=show)
            show(result.counters)


def _read_once(board: "Transport") -> None:
    from host.transport.packets import PacketLink, read_counters

    c = board_configuration(board)
    with LiveGrid(f"{c.name}, no run") as grid:
        grid.show(counter_rows(read_counters(PacketLink(board)), 0.0, board.clock_hz))


def counter_rows(counters: dict[str, int], seconds: float, clock_hz: int | None) -> Rows:
    """A table of the counters, then of what follows from them.

    The columns are the counter's name, its count and unit, and the count divided by `seconds` of
    wall time and by the positions that were run. `clock_hz` is the device's clock, if it has one.
    """
    positions, cycles = max(counters["tokens"], 1), counters["cycles"]
    rows = [["counter", "count", "", "a second", "a position"]]
    for name, count in counters.items():
        unit = UNITS.get(name, "cycles")
        rows.append([name.replace("_", " "), f"{count:,}", unit,
                     f"{count / seconds:,.0f}" if seconds else "-", f"{count / positions:,.1f}"])

    def derived(name: str, value: str) -> None:
        rows.append([name, value, "", "", ""])

    if counters["neurons"]:
        derived("spikes a neuron", f"{counters['spikes'] / counters['neurons']:.2f}")
    if cycles:
        derived("gathering", f"{counters['gather_cycles'] / cycles:.0%} of the cycles")
        if clock_hz:
            derived("busy", f"{1e3 * cycles / clock_hz:,.2f} ms at {clock_hz / 1e6:g} MHz")
            derived("positions a second while busy", f"{positions * clock_hz / cycles:,.0f}")
    return rows


