"""spikelet generate: text from a prompt, on the simulated or the golden device, or on a board."""

import math
import secrets
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from host.cli.device import Device, DeviceKind, DeviceOption
from host.cli.prepare import prepare
from host.cli.sources import ConfigurationOption, ScheduleOption, TokenizerOption, WeightsOption
from host.cli.terminal import emit, note, print_table
from isa.errors import SpikeletError

if TYPE_CHECKING:
    from host.driver import Generation
    from isa.image import Image


DEFAULT_CLOCK_HZ = 80_000_000


def generate(
    model: Annotated[Path | None, typer.Option("--model", "-m", help="Checkpoint (a Hugging Face "
                                               "folder or a llama2.c model.bin) or compiled image. "
                                               "Default: the model that ships.")] = None,
    tokenizer: TokenizerOption = None,
    prompt: Annotated[str, typer.Option("--prompt", "-p",
                                        help="Text to continue.")] = "Once upon a time",
    max_new_tokens: Annotated[int, typer.Option(help="Tokens to generate at most.")] = 64,
    device: DeviceOption = "sim",
    config: ConfigurationOption = None,
    weights: WeightsOption = None,
    schedule: ScheduleOption = None,
    temperature: Annotated[float, typer.Option(help="0: the device's greedy choice; above 0: "
                                                    "sampled on the host.")] = 0.0,
    top_p: Annotated[float, typer.Option(help="Sample among the most likely tokens whose "
                                              "probabilities reach p.")] = 1.0,
    top_k: Annotated[int, typer.Option(help="Sample among the k most likely tokens; 0: all.")] = 0,
    seed: Annotated[int | None, typer.Option(help="Seed of the sampling; default: a new "
                                                  "one.")] = None,
    clock_mhz: Annotated[float | None, typer.Option(help="Clock for which the speed is given. "
                                                         "Default: the board's, or "
                                                         f"{DEFAULT_CLOCK_HZ / 1e6:g}.")] = None,
    waves: Annotated[Path | None, typer.Option(help="Write a VCD waveform of the simulation "
                                                    "(slow, large).")] = None,
) -> None:
    """Generates text and prints a summary of what the device did.

    \b
    Example:
      spikelet generate
      spikelet generate --prompt "Lily and Tom" --temperature 0.8
      spikelet generate --device serial:/dev/ttyUSB0
    """
    chosen = Device.parse(device)
    _check_options(prompt, max_new_tokens, chosen, temperature, top_p, top_k, seed, clock_mhz,
                   waves)

    from golden.tokenizers.tokenizer import StreamDecoder
    from host.sampling import Sampler

    with ExitStack() as stack:
        ready = prepare(stack, chosen, prompt, max_new_tokens, model, tokenizer, config, weights,
                        schedule, waves)
        words, ids, image = ready.words, ready.prompt, ready.image
        sampler = None
        if temperature:
            seed = secrets.randbits(32) if seed is None else seed
            sampler = Sampler(image.model["fraction"], temperature, top_k, top_p, seed)
        clock_mhz = clock_mhz or (ready.transport.clock_hz or DEFAULT_CLOCK_HZ) / 1e6
        driver = ready.load()
        decoder = StreamDecoder(words, previous=ids[-1])
        emit(words.decode(ids))
        start = time.perf_counter()
        try:
            result = driver.generate(ids, max_new_tokens, lambda token: emit(decoder.push(token)),
                                     sampler)
        except KeyboardInterrupt:
            emit("\n")
            raise
        seconds = time.perf_counter() - start
    emit(decoder.finish() + "\n\n")
    _tell_stop(result, image, max_new_tokens)
    print_table(_summary(result, image, len(ids), seconds, clock_mhz)
                + ([("seed", str(seed))] if sampler else []))


def _check_options(prompt: str, max_new_tokens: int, device: Device, temperature: float,
                   top_p: float, top_k: int, seed: int | None, clock_mhz: float | None,
                   waves: Path | None) -> None:
    """Raises SpikeletError for options that are wrong, before anything is built or loaded."""
    from host.sampling import Sampler

    if not prompt.strip():
        raise SpikeletError("the prompt is empty: give --prompt some text")
    if max_new_tokens < 1:
        raise SpikeletError(f"--max-new-tokens is {max_new_tokens}: give at least 1")
    if clock_mhz is not None and not (math.isfinite(clock_mhz) and clock_mhz > 0):
        raise SpikeletError(f"--clock-mhz is {clock_mhz:g}: give a number above 0")
    if waves is not None and device.kind is not DeviceKind.sim:
        raise SpikeletError("only the simulated device has waveforms: use --device sim, or leave "
                            "out --waves")
    if temperature != 0:
        Sampler(0, temperature, top_k, top_p, seed or 0)
    elif top_p != 1.0 or top_k:
        raise SpikeletError("--top-p and --top-k sample, which needs --temperature above 0")


def _tell_stop(result: "Generation", image: "Image", wanted: int) -> None:
    """Tells the user why there are fewer tokens than wanted, where that is so."""
    from isa.registers import Stop

    if result.stop is Stop.CONTEXT_FULL:
        note(f"the context is full ({image.context} positions): generation ended after "
             f"{len(result.tokens)} of {wanted} tokens")
    elif result.stop is Stop.END_TOKEN:
        note(f"the model ended the text after {len(result.tokens)} of {wanted} tokens")


def _summary(result: "Generation", image: "Image", prompt_tokens: int, seconds: float,
             clock_mhz: float) -> list[tuple[str, str]]:
    count = result.counters
    run, cycles = max(count["tokens"], 1), count["cycles"]
    rows = [
        ("tokens", f"{len(result.tokens)} generated after a prompt of {prompt_tokens}; "
                   f"{count['tokens']} positions run"),
        ("configuration", f"{image.configuration}, weights {image.model['weights']}, schedule "
                          f"{image.model['schedule']}"),
    ]
    if cycles:
        rows += [
            ("cycles a token", f"{cycles / run:,.0f}"),
            (f"tokens a second at {clock_mhz:g} MHz", f"{clock_mhz * 1e6 * run / cycles:,.0f}"),
        ]
    else:
        rows.append(("cycles a token", "not counted: no time passes in the golden device"))
    return rows + [
        ("tokens a second of wall time", f"{run / seconds:,.1f} ({seconds:.1f} s)"),
        ("spikes a neuron", f"{count['spikes'] / max(count['neurons'], 1):.2f}"),
        ("synaptic operations a token", f"{count['synaptic_operations'] / run:,.0f}"),
        ("saturations", f"{count['saturations']:,} results clipped"),
    ]
