"""How much of external memory's peak bandwidth carries weights while tokens are generated.

    python -m host.measure.bandwidth --config ulx3s_sdram

runs a random model, or the one that `--model` names, on the simulated device with its SDRAM
controller and a model of the chip that checks its timing. The tokens have to be those of the golden
device. The peak is two bytes a cycle. Only the model's weights count as useful. Gains, headers,
padding, refreshes, row changes and waiting count as lost.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from golden.checkpoints.checkpoint import load_checkpoint, random_checkpoint
from golden.checkpoints.config import ModelConfig
from golden.quantisation.quantise import QuantisedModel, quantise
from host.compiler.compile import compile_model
from host.driver import Driver
from host.transport.golden import GoldenTransport
from host.transport.simulated import SimulatedTransport
from isa.configurations import Configuration, configuration
from isa.errors import SpikeletError
from sim.memory import SimulatedMemory

BYTES_A_CYCLE = 2
FRACTION = 10  # fraction bits of a random model's vectors: its activations are large


@dataclass(frozen=True)
class Bandwidth:
    """What generation took, each value for one token on average."""

    weights: int  # bytes of weights that a token needs
    words_read: float  # from external memory, 4 bytes each
    cycles: float
    full_cycles: float  # in which a word waited for room in a ring

    @property
    def share(self) -> float:
        """The share of the peak that carried weights, 0..1."""
        return self.weights / (BYTES_A_CYCLE * self.cycles)

    @property
    def used(self) -> float:
        """The share of the peak that carried anything, 0..1."""
        return 4 * self.words_read / (BYTES_A_CYCLE * self.cycles)


def model_weights(m: ModelConfig) -> int:
    """Bytes of weights that one token needs, with the head and its own row of the embedding."""
    attention = m.dim * (m.heads + 2 * m.kv_heads) * m.head_dim + m.heads * m.head_dim * m.dim
    return m.layers * (attention + 3 * m.dim * m.hidden) + m.dim * m.vocab + m.dim


def measure(
    q: QuantisedModel, c: Configuration, tokens: int, memory: SimulatedMemory, first: int = 1
) -> Bandwidth:
    """Generates `tokens` tokens on the simulated device, with `first` as the whole prompt.

    So every position gives a token and needs the head's weights.

    Raises:
        SpikeletError: the model does not fit, or the golden device gives other tokens.
    """
    image = compile_model(q, c, weights="external")
    with SimulatedTransport(c, memory=memory) as transport:
        result = Driver(transport, image).generate([first], tokens)
    expected = Driver(GoldenTransport(c), image).generate([first], tokens)
    if result.tokens != expected.tokens:
        raise SpikeletError(
            f"the device gives the tokens {result.tokens}, the golden device {expected.tokens}: "
            "this is a bug, please report it"
        )
    count = result.counters
    run = count["tokens"]
    return Bandwidth(
        model_weights(q.config), count["external_words_read"] / run, count["cycles"] / run,
        count["external_full_cycles"] / run,
    )  # fmt: skip


def random_model(dim: int, hidden: int, layers: int, vocab: int, seed: int) -> QuantisedModel:
    """A random model with two query heads or more, of about 64 elements, and half as many key/value
    heads."""
    heads = max(2, dim // 64)
    config = ModelConfig(dim=dim, hidden=hidden, layers=layers, heads=heads, kv_heads=heads // 2,
                         head_dim=dim // heads, vocab=vocab, context=64)  # fmt: skip
    return quantise(random_checkpoint(config, seed), fraction=FRACTION)


def main(
    config: Annotated[str, typer.Option(help="device configuration")] = "ulx3s_sdram",
    model: Annotated[Path | None, typer.Option(help="checkpoint; default: a random one")] = None,
    dim: Annotated[int, typer.Option(help="of the random model")] = 256,
    hidden: Annotated[int, typer.Option(help="of the random model")] = 512,
    layers: Annotated[int, typer.Option(help="of the random model")] = 4,
    vocab: Annotated[int, typer.Option(help="of the random model")] = 512,
    tokens: Annotated[int, typer.Option(help="tokens to generate")] = 8,
    clock_mhz: Annotated[float, typer.Option(help="clock of device and memory")] = 80.0,
    seed: Annotated[int, typer.Option(help="of the random model")] = 1,
) -> None:
    """Prints the share of the memory's peak bandwidth that carries weights."""
    c = configuration(config)
    if not c.external_words:
        raise SpikeletError(f"the configuration '{c.name}' has no external memory: use --config "
                            "ulx3s_sdram")
    if model is None:
        q = random_model(dim, hidden, layers, vocab, seed)
    else:
        q = quantise(load_checkpoint(model))
    memory = SimulatedMemory(clock_hz=clock_mhz * 1e6)
    b = measure(q, c, tokens, memory)
    print(
        f"{q.config.layers} layers, dim {q.config.dim}, on {c.name} at {clock_mhz:g} MHz: "
        f"{b.weights:,} bytes of weights and {4 * b.words_read:,.0f} bytes read in {b.cycles:,.0f} "
        f"cycles a token; {b.share:.1%} of the peak are weights, {b.used:.1%} are read; in "
        f"{b.full_cycles / b.cycles:.1%} of the cycles a ring was full; "
        f"{clock_mhz * 1e6 / b.cycles:,.1f} tokens/s (measured in cycles)"
    )


if __name__ == "__main__":
    typer.run(main)
