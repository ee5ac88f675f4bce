"""spikelet selftest: compares a board with the golden device, part by part."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from host.cli import sources
from host.cli.device import Device, board_configuration, open_device
from host.cli.terminal import Tell, emit, note, print_grid, progress
from isa.configurations import Configuration
from isa.errors import SpikeletError

if TYPE_CHECKING:
    from golden.quantisation.quantise import QuantisedModel
    from host.selftest import Check
    from host.transport import Transport
    from isa.image import Image

DIFFERENT = 1  # exit code for a difference
QUICK_ROWS = 16  # at each end of row memory that --quick checks
ECHOES = 20  # readings of the identity that are timed
# Shapes of random models: (layers, dim, hidden, heads, kv_heads, head_dim). The first that fits the
# device is used.
SHAPES = ((2, 80, 144, 6, 3, 16), (2, 16, 24, 4, 2, 4), (1, 16, 24, 4, 2, 4))


def selftest(
    device: Annotated[str, typer.Option("--device", help="serial:PATH: the board; sim and golden "
                                        "work too.")],
    model: Annotated[Path | None, typer.Option("--model", "-m", help="Checkpoint or image to "
                                               "generate with. Default: the model that ships, or "
                                               "a random one where it does not fit.")] = None,
    config: sources.ConfigurationOption = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Tokens to generate.")] = 12,
    quick: Annotated[bool, typer.Option("--quick", help="Row memory: its first and last rows "
                                                        "only.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of patterns and random models.")] = 1,
) -> int:
    """Checks the link, memories, each unit and a generation against the golden device.

    Prints pass, or the first difference and exit code 1. The model in the board's memories is
    overwritten.

    \b
    Example:
      spikelet selftest --device serial:/dev/ttyUSB0
    """
    from host.transport.packets import PacketLink, device_identity

    chosen = Device.parse(device)
    with open_device(chosen, config or sources.DEFAULT_CONFIGURATION) as board:
        c = board_configuration(board)
        held = device_identity(PacketLink(board))["image"]
        rows, difference = [], None
        with progress("selftest") as tell:
            for check in checks(board, c, model, max_new_tokens, quick, seed, tell):
                rows.append([check.name, "pass" if check.difference is None else "DIFFERS",
                             check.difference or check.amount])
                if check.difference is not None:
                    difference = check
                    break
    print_grid(rows, f"'{c.name}' on {device}")
    if held:
        note("the bitstream's model was overwritten: switch the power off and on, or flash again")
    if difference is not None:
        emit(f"FAIL: {difference.name}: {difference.difference}\n")
        return DIFFERENT
    emit("pass\n")
    return 0


def checks(board: "Transport", c: Configuration, model: Path | None, count: int, quick: bool,
           seed: int, tell: Tell) -> "Iterator[Check]":
    """All checks, one after the other as they are asked for; the caller stops at a difference.

    `count` are the tokens of each generation. `quick` checks the ends of row memory only.
    """
    from golden.checkpoints.config import Attention
    from host.driver import Driver
    from host.selftest import (
        UnitChecks,
        check_external,
        check_generation,
        check_registers,
        check_rows,
    )
    from host.transport.golden import GoldenTransport

    yield check_link(board, tell)
    yield check_registers(board, c, seed)
    yield check_rows(board, c, seed, lambda fraction, stage: tell(0.3 * fraction, "row memory"),
                     QUICK_ROWS if quick else None)
    if c.external_words:
        tell(0.3, "external memory")
        yield check_external(board, c, seed)
    for number, attention in enumerate(Attention):
        image = random_image(c, attention, seed)
        units = UnitChecks(board, image, c, seed)
        low = 0.3 + 0.25 * number
        for check in units.run(lambda f, stage, low=low: tell(low + 0.25 * f, "units " + stage)):
            yield _named(check, f", {attention} attention")
        tell(low + 0.25, "generation of a random model")
        yield _named(check_generation(*units.drivers, units.prompt, count),
                     f", random model, {attention} attention")
    if c.external_words:
        image = random_image(c, Attention.softmax, seed, "external")
        golden = Driver(GoldenTransport(c), image)
        yield _named(check_generation(golden, Driver(board, image), units.prompt, count),
                     ", random model, weights external")
    named = model_image(model, c, tell)
    if named is not None:
        image, prompt, name = named
        tell(0.9, f"generation of {name}")
        golden = Driver(GoldenTransport(c), image)
        yield _named(check_generation(golden, Driver(board, image), prompt, count), f", {name}")


def _named(check: "Check", more: str) -> "Check":
    """The check with more words in its name, for the report."""
    from dataclasses import replace

    return replace(check, name=check.name + more)


def check_link(board: "Transport", tell: Tell) -> "Check":
    """Checks that the identity is always the same, and times it and a long answer."""
    from host.selftest import Check
    from host.transport.packets import PacketLink, device_identity
    from isa.packets import Space

    tell(0.0, "link")
    link = PacketLink(board)
    first = device_identity(link)
    start = time.perf_counter()
    for _ in range(ECHOES):
        if device_identity(link) != first:
            return Check("link", "", "the identity changed from one read to the next")
    echo = (time.perf_counter() - start) / ECHOES
    words = 1024
    start = time.perf_counter()
    link.read(Space.REGISTER, 0, words)
    rate = 4 * words / (time.perf_counter() - start)
    return Check("link", f"{ECHOES} echoes of {1e3 * echo:.2f} ms, {rate / 1e3:,.0f} kB/s to the "
                         "host, wall time")


def random_image(c: Configuration, attention: str, seed: int,
                 weights: str = "resident") -> "Image":
    """The image of a random model, of the first of SHAPES that fits the configuration.

    Raises:
        SpikeletError: none of them fits.
    """
    from golden.checkpoints.checkpoint import random_checkpoint
    from golden.checkpoints.config import ModelConfig
    from golden.quantisation.quantise import quantise
    from host.compiler.compile import compile_model

    for number, (layers, dim, hidden, heads, kv_heads, head_dim) in enumerate(SHAPES):
        config = ModelConfig(dim=dim, hidden=hidden, layers=layers, heads=heads, kv_heads=kv_heads,
                             head_dim=head_dim, vocab=64, context=32, attention=attention)
        # Random models have larger activations than trained ones, so fewer bits for the fraction.
        q: QuantisedModel = quantise(random_checkpoint(config, seed), fraction=10)
        try:
            return compile_model(q, c, weights)
        except SpikeletError:
            if number == len(SHAPES) - 1:
                raise
    raise AssertionError("there are shapes")


def model_image(model: Path | None, c: Configuration,
                tell: Tell) -> "tuple[Image, list[int], str] | None":
    """An image to generate with, a prompt, and the model's name.

    Without a `model` it is the one that ships, or None where that does not fit or is missing.

    Raises:
        SpikeletError: the `model` that the user names is wrong or does not fit.
    """
    from isa.image import Image

    tell(0.8, "preparing the model")
    path = sources.SHIPPED_MODEL if model is None else model
    try:
        source = sources.read_model(path, c.name)
        image = source if isinstance(source, Image) else sources.make_image(
            source, c.name, None, None, *sources.begin_and_end(path, None))
    except SpikeletError:
        if model is not None:
            raise
        return None
    first = sources.begin_and_end(path, None)[0] or 0
    return image, [first, *range(2, 6)], path.name
