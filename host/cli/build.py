"""spikelet build: a bitstream for a board, or a project for the vendor's tools."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from host.cli import sources
from host.cli.terminal import note, print_table, progress
from isa.configurations import configuration
from isa.errors import SpikeletError

if TYPE_CHECKING:
    from hdl.boards.board import Board
    from host.flow.bitstream import Bitstream, Used
    from host.flow.design import Design
    from host.flow.speed import Speed
    from isa.image import Image

DEFAULT_FOLDER = Path("build")


def build(
    board: Annotated[str | None, typer.Option("--board", "-b", help="The board; without one, the "
                                              "boards are listed.")] = None,
    config: Annotated[str | None, typer.Option("--config", "-c", help="Device configuration. "
                                               "Default: the board's, or the image's.")] = None,
    model: Annotated[Path | None, typer.Option("--model", "-m", help="Checkpoint or image to put "
                                               "into the bitstream's block RAM; the host does not "
                                               "load it then.")] = None,
    weights: sources.WeightsOption = None,
    clock_mhz: Annotated[float | None, typer.Option(help="Clock of the device; default: the "
                                                         "board's.")] = None,
    seed: Annotated[int, typer.Option(help="Of placement: another one routes otherwise.")] = 1,
    timing_driven: Annotated[bool, typer.Option("--timing-driven", help="Place and route with a "
                                                "look at the clock, not only for short wires: "
                                                "slower, for a higher clock.")] = False,
    verilog: Annotated[bool, typer.Option("--verilog", help="Write Verilog and constraints for the "
                                          "vendor's tools, and stop.")] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the results; default: "
                                             "build/BOARD-CONFIGURATION.")] = None,
) -> None:
    """Builds a bitstream with tools that pip installs, and prints what it takes and reaches.

    \b
    Example:
      spikelet build --board ulx3s_85f --model golden/models/stories
      spikelet build --board arty_a7_100 --verilog
    """
    from hdl.boards import BOARDS
    from hdl.boards import board as find_board

    if board is None:
        print_table([(b.name, f"{b.description} ({b.part})") for b in BOARDS.values()])
        return
    chosen = find_board(board)
    hertz = None if clock_mhz is None else round(clock_mhz * 1e6)
    if hertz is not None and not 1_000_000 <= hertz <= 1_000_000_000:
        raise SpikeletError(f"--clock-mhz is {clock_mhz:g}: give a number from 1 to 1000")
    image = _image(model, config, weights, chosen)
    sizes = configuration(config or (image.configuration if image else chosen.configuration))
    design = _design(chosen, sizes, image, hertz, seed, timing_driven)
    folder = out or DEFAULT_FOLDER / f"{chosen.name}-{sizes.name}"
    _check_folder(folder)
    if verilog:
        from host.flow.vendor import write_project

        with progress("writing Verilog") as tell:
            tell(0.0, "elaboration")
            files = write_project(design, folder)
        print_table([(path.name, str(path)) for path in files],
                    f"{chosen.name}: for {chosen.vendor}'s tools, not run here")
        return

    from host.flow.bitstream import build as make

    with progress(f"building {sizes.name} for {chosen.name}") as tell:
        result = make(design, tell)
    speed = _speed(image)
    files = _write(result, folder, chosen, sizes.name)
    print_table(_summary(design, result, image, speed) + files)


def _image(model: Path | None, config: str | None, weights: sources.Weights | None,
           board: "Board") -> "Image | None":
    """The image to put into the bitstream; None where no model is named."""
    if model is None:
        if weights is not None:
            raise SpikeletError("--weights says where the model's weights are: give --model, too")
        return None
    source = sources.read_model(model, config)
    from isa.image import Image

    if isinstance(source, Image):
        return sources.make_image(source, weights=weights)
    tokenizer = sources.read_tokenizer(model, None, source.config.vocab) if model.is_dir() else None
    return sources.make_image(source, config or board.configuration, weights, None,
                              *sources.begin_and_end(model, tokenizer))


def _design(board: "Board", sizes, image: "Image | None", hertz: int | None,
            seed: int, timing_driven: bool) -> "Design":
    """The design to build. A clock that the board cannot make is an error here already."""
    from host.flow.design import Design
    from isa.contents import EMPTY, contents

    held = EMPTY if image is None else contents(image, sizes)
    design = Design(board, sizes, held, hertz, seed, timing_driven)
    design.clock_hz, design.platform  # noqa: B018 - both raise errors early
    return design


def _check_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpikeletError(f"cannot write to {folder} ({error.strerror}): give another "
                            "--out") from None


def _speed(image: "Image | None") -> "Speed | None":
    if image is None:
        return None
    from host.flow.speed import derive

    with progress("counting cycles in the simulator") as tell:
        return derive(image, lambda stage, fraction: tell(fraction, stage))


def _write(result: "Bitstream", folder: Path, board: "Board", name: str) -> list[tuple[str, str]]:
    """Copies the bitstream and its reports to `folder`; returns table rows that name them."""
    import shutil

    bitstream = folder / f"{board.name}-{name}{result.path.suffix}"
    shutil.copyfile(result.path, bitstream)
    for report in ("report.json", "place.log"):
        shutil.copyfile(result.folder / report, folder / report)
    note(f"write it to the board: spikelet flash --board {board.name} {bitstream}")
    return [("bitstream", f"{bitstream} ({bitstream.stat().st_size:,} bytes)")]


def _summary(design: "Design", result: "Bitstream", image: "Image | None",
             speed: "Speed | None") -> list[tuple[str, str]]:
    board, c = design.board, design.configuration

    def of(used: "Used") -> str:
        return f"{used.used:,} of {used.available:,} ({100 * used.used / used.available:.0f} %)"

    rows = [
        ("board", f"{board.name}: {board.part}"),
        ("configuration",
         f"{c.name} ({c.identity:08x}): {c.cores} core{'s'[: c.cores > 1]} x {c.lanes} lanes"),
        ("logic cells", of(result.logic)),
        ("flip-flops", of(result.flip_flops)),
        ("block RAMs", of(result.blocks)),
        ("multipliers", str(result.multipliers)),
        ("clock", f"{result.fmax_hz / 1e6:.1f} MHz routed, {result.clock_hz / 1e6:g} MHz asked "
                  "for"),
        ("lanes", f"{c.cores * c.lanes} additions a cycle"),
    ]
    if speed is None:
        rows.append(("tokens a second", "no model given: derived with --model"))
    else:
        rate = speed.tokens_a_second(result.clock_hz, board.link.words_a_second)
        rows += [
            ("model", f"{image.model['weights']}, {design.contents.identity:08x}, in the "
                      "bitstream"),
            ("tokens a second", f"{rate:,.1f} derived: {speed.cycles:,} cycles at position "
                                f"{speed.position} in simulation" + (
                                    f", {speed.streamed_words:,} words a token over "
                                    f"{board.link}" if speed.streamed_words else "")),
        ]
    seconds = f"{result.synthesis_seconds:.0f} s synthesis, {result.place_seconds:.0f} s place and "
    return [*rows, ("build", seconds + "route" + (" (from the cache)" if result.from_cache
                                                  else ""))]
