"""How busy the lanes are while a large random matrix gathers: one FIRE, one POST.

    python -m host.measure.gather --config large --inputs 512 --outputs 2048

prints the address events, the cycles of the gather and the share of the lanes that were busy. It is
measured on the simulated device, whose argmax has to be the golden device's.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import typer

from host.compiler.weights import row_words, tiles
from host.driver import Driver, Generation
from host.transport import Transport
from host.transport.golden import GoldenTransport
from host.transport.simulated import SimulatedTransport
from isa.configurations import Configuration, configuration
from isa.errors import SpikeletError
from isa.formats import CODE, UNITY_MANTISSA, UNITY_SHIFT
from isa.image import Image, Section
from isa.instructions import INSTRUCTION_LINK_WORDS, RECORDS, Opcode
from isa.packets import Space
from isa.schedule import phase_schedule


@dataclass(frozen=True)
class Busy:
    """What a gather took: address events of all cores, cycles, and the share of busy lanes."""

    events: int
    cycles: int
    share: float


def _image(c: Configuration, inputs: int, outputs: int, seed: int, gather: bool) -> Image:
    """A program that reads a random vector and, with `gather`, multiplies it by a random matrix.

    The vector lies in row memory as a map with one input. The argmax of the last sums is the
    token. Without `gather` the program shows what reading the vector takes, to be subtracted.
    """
    rng = np.random.default_rng(seed)
    vector = tiles(rng.integers(-CODE.maximum, CODE.maximum + 1, (inputs, 1)), c)
    matrix = tiles(rng.integers(-CODE.maximum, CODE.maximum + 1, (outputs, inputs)), c)
    first = vector.shape[0] * vector.shape[1]  # rows that the vector takes: the matrix follows
    rows = first + matrix.shape[0] * matrix.shape[1]
    for name, need in (("row_depth", rows), ("vector_depth", inputs // c.vector_lanes)):
        if need > getattr(c, name):
            raise SpikeletError(
                f"{inputs} x {outputs} needs {name} {need}, the configuration '{c.name}' has "
                f"{getattr(c, name)}: use a larger configuration or a smaller matrix"
            )
    unity = dict(gain=UNITY_MANTISSA, drop=UNITY_SHIFT, shift=UNITY_SHIFT)
    program = [
        (Opcode.FIRE, dict(one_hot=1, count=1, outputs=inputs, tile_stride=vector.shape[1])),
        (Opcode.POST, dict(count=inputs, to_vector=1, argmax=1, **unity)),
    ]
    if gather:
        stride = matrix.shape[1]
        fire = dict(wait_post=1, count=inputs, outputs=outputs, row_base=first, tile_stride=stride)
        program += [
            (Opcode.FIRE, fire),
            (Opcode.POST, dict(count=outputs, argmax=1, **unity)),
        ]
    program.append((Opcode.END, {}))
    packed = [RECORDS[opcode].pack(opcode=opcode, **fields) for opcode, fields in program]
    words = [w >> 32 * i & 0xFFFFFFFF for w in packed for i in range(INSTRUCTION_LINK_WORDS)]
    schedule = phase_schedule()
    sections = [
        Section(Space.PROGRAM, 0, np.array(words, dtype=np.uint32)),
        Section(Space.SCHEDULE, 0, np.array(schedule.words(), dtype=np.uint32)),
        Section(Space.ROW, 0, row_words(np.concatenate([v.reshape(-1, *v.shape[2:])
                                                        for v in (vector, matrix)]))),
    ]  # fmt: skip
    settings = {f"start_{b}": step for b, step in enumerate(schedule.start)}
    settings |= dict(context=1, skip_silent=1)
    return Image(c.name, c.identity, dict(vocab=1, weights="resident"), settings, sections)


def measure(transport: Transport, c: Configuration, inputs: int, outputs: int, seed: int) -> Busy:
    """Runs the gather on a device and returns what it took.

    Raises:
        SpikeletError: the golden device gives another token, or the matrix does not fit.
    """

    def run(device: Transport, gather: bool) -> Generation:
        return Driver(device, _image(c, inputs, outputs, seed, gather)).generate([0], 1)

    without, whole = run(transport, False), run(transport, True)
    expected = run(GoldenTransport(c), True)
    if whole.tokens != expected.tokens:
        raise SpikeletError(
            f"the device's argmax is {whole.tokens}, the golden device's {expected.tokens}: "
            "this is a bug, please report it"
        )
    events = whole.counters["events"] - without.counters["events"]
    cycles = whole.counters["gather_cycles"] - without.counters["gather_cycles"]
    return Busy(events, cycles, events / (c.cores * cycles))


def main(
    config: Annotated[str, typer.Option(help="device configuration")] = "large",
    inputs: Annotated[int, typer.Option(help="neurons that fire, a multiple of 8")] = 512,
    outputs: Annotated[int, typer.Option(help="sums")] = 2048,
    seed: Annotated[int, typer.Option(help="of the random codes and weights")] = 1,
) -> None:
    """Prints busy lanes over cycles while a random matrix gathers."""
    c = configuration(config)
    with SimulatedTransport(c) as transport:
        busy = measure(transport, c, inputs, outputs, seed)
    print(
        f"{inputs} x {outputs} on {c.name} ({c.cores} cores x {c.lanes} lanes): {busy.events} "
        f"events in {busy.cycles} cycles, {busy.share:.1%} of the lanes busy (measured)"
    )


if __name__ == "__main__":
    typer.run(main)
