"""spikelet eval: perplexity and bits per character of the float and the spiking model."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from host.cli.device import Device, DeviceKind, board_configuration, open_device
from host.cli.sources import (
    DEFAULT_CONFIGURATION,
    ConfigurationOption,
    ModelOption,
    TokenizerOption,
    read_text,
    read_weights,
)
from host.cli.terminal import Tell, print_table, progress

if TYPE_CHECKING:
    import torch

    from golden.quantisation.quantise import QuantisedModel
    from host.driver import Driver


def evaluate(
    text: Annotated[Path, typer.Option("--text", help="UTF-8 text; <|endoftext|> between "
                                                      "documents.")],
    model: ModelOption = None,
    tokenizer: TokenizerOption = None,
    device: Annotated[str | None, typer.Option("--device", help="Predict the text on a device too: "
                                               "sim, golden or serial:PATH.")] = None,
    config: ConfigurationOption = None,
) -> None:
    """How well the float model, and the integers that the hardware computes, predict a text.

    Perplexity is that of the first 400 tokens of each document; bits per character are those of
    whole documents, and compare models with different tokenizers. With --device, perplexity is
    that of as many tokens as the device has room for.

    \b
    Example:
      spikelet eval --text stories.txt
    """
    chosen = None if device is None else Device.parse(device)
    checkpoint, words = read_weights(model, tokenizer)
    content = read_text(text)

    from golden.evaluation.perplexity import (
        LONGEST,
        bits_per_character,
        perplexity,
        split_documents,
    )
    from golden.float_model.model import FloatModel
    from golden.quantisation.calibrate import quantise_calibrated
    from golden.spiking_model.model import SpikingModel

    start = time.perf_counter()
    with progress("calibrating", lines=False) as tell:
        tell(0.0, "")
        quantised = quantise_calibrated(checkpoint, begin=words.begin)
    context = checkpoint.config.context
    with ExitStack() as stack:
        driver = None if chosen is None else _driver(chosen, config, quantised, stack)
        room = context if driver is None else driver.image.context
        documents = split_documents(content, words, min(LONGEST, context, room))
        on_device = []
        if driver is not None:
            with progress(str(device)) as tell:
                found = perplexity(device_logits(driver), _told(documents, tell)).value
            on_device = [("perplexity, device", f"{found:.4f} ({device}, first {room} tokens)")]
    float_model = FloatModel(checkpoint)
    with progress("float") as tell:
        float_result = perplexity(float_model, _told(documents, tell))
        float_bits = bits_per_character(float_model, content, words, context)
    spiking_model = SpikingModel(quantised)
    with progress("spiking") as tell:
        spiking_result = perplexity(spiking_model.log_logits, _told(documents, tell))
        activity, saturated = spiking_model.counters.total, spiking_model.counters.saturated
        tell(1.0, "whole documents")
        spiking_bits = bits_per_character(spiking_model.log_logits, content, words, context)
    ratio = spiking_result.value / float_result.value - 1
    positions = sum(map(len, documents))
    print_table([
        ("text", f"{text}: {len(documents)} documents, {float_result.tokens:,} predicted tokens"),
        ("perplexity, float", f"{float_result.value:.4f}"),
        ("perplexity, spiking", f"{spiking_result.value:.4f} ({ratio:+.2%} against float)"),
        *on_device,
        ("bits per character, float", f"{float_bits:.4f}"),
        ("bits per character, spiking", f"{spiking_bits:.4f} "
                                        f"({spiking_bits / float_bits - 1:+.2%} against float)"),
        ("vector fraction", f"{quantised.fraction} bits"),
        ("spikes a neuron", f"{activity.spikes / max(activity.neurons, 1):.2f} (unary schedule: "
                            f"{activity.unary_spikes / max(activity.neurons, 1):.2f})"),
        ("synaptic operations a token", f"{activity.synaptic_operations / positions:,.0f}"),
        ("saturations", f"{saturated:,} results clipped"),
        ("wall time", f"{time.perf_counter() - start:.1f} s"),
    ])  # fmt: skip


def _driver(device: Device, config: str | None, quantised: "QuantisedModel",
            stack: ExitStack) -> "Driver":
    """Opens the device until the stack is left, and loads the model into it."""
    from host.compiler.compile import compile_model
    from host.driver import Driver
    from isa.configurations import configuration

    board = None
    if device.kind is DeviceKind.serial:
        board = stack.enter_context(open_device(device))
        config = config or board_configuration(board).name
    c = configuration(config or DEFAULT_CONFIGURATION)
    image = compile_model(quantised, c)
    transport = board or stack.enter_context(open_device(device, c.name))
    with progress("loading the model") as tell:
        return Driver(transport, image,
                      lambda done, all_: tell(done / all_, f"{all_:,} words"))


def device_logits(driver: "Driver") -> "Callable[[torch.Tensor], torch.Tensor]":
    """A function from token numbers (T,) to the device's logits (T, vocab), as floats.

    The device generates from the first token. In the place of the token that it would choose it
    gets the next one of the text.
    """
    import torch

    def forward(ids: "torch.Tensor") -> "torch.Tensor":
        given, logits = ids.tolist(), []

        def next_token(found) -> int:
            logits.append(torch.from_numpy(found))
            return given[len(logits)] if len(logits) < len(given) else 0

        driver.generate(given[:1], len(given), sampler=next_token)
        return torch.stack(logits) / (1 << driver.image.model["fraction"])

    return forward


def _told(documents: list[list[int]], tell: Tell) -> Iterator[list[int]]:
    """The documents, each of which is told as progress before it is used."""
    for n, document in enumerate(documents):
        tell(n / len(documents), f"document {n + 1}/{len(documents)}")
        yield document
