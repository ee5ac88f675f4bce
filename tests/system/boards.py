"""Virtual boards that the tests share: the small device on a board's pins, at a low clock."""

from contextlib import contextmanager
from functools import cache
from pathlib import Path

from hdl.boards import board
from host.compiler.compile import compile_model
from host.driver import Driver, Generation
from host.sampling import Sampler
from host.transport import Transport
from host.transport.golden import GoldenTransport
from host.transport.serial import SerialTransport
from isa.configurations import configuration
from isa.image import Image
from sim.board.build import Simulation, build_board
from sim.board.virtual import VirtualBoard
from tests.golden.models import SEED, TINY
from tests.system.pairs import random_model

C = configuration("tiny")
CLOCK_HZ = 25_000_000  # few cycles a byte: the link is what these tests are about
PATIENCE = 60.0  # seconds; a busy machine simulates slowly
PROMPT = [3, 4, 5]
COUNT = 8


@cache
def simulation() -> Simulation:
    return build_board(board("ulx3s_85f"), C, core_hz=CLOCK_HZ)


@cache
def image(seed: int = SEED) -> Image:
    return compile_model(random_model(TINY, seed), C)


@contextmanager
def virtual_board(link: Path | None = None):
    """A running board without a model."""
    s = simulation()
    with VirtualBoard(s.library, s.clock_hz, s.baud, link) as virtual:
        yield virtual


def connected(virtual: VirtualBoard, **options) -> SerialTransport:
    return SerialTransport(virtual.path, **{"patience": PATIENCE} | options)


def sampler(model: Image) -> Sampler:
    """Hot, so that the tokens of a random model differ; the same tokens each time."""
    return Sampler(model.model["fraction"], 4.0, seed=SEED)


@cache
def golden(sampled: bool = True, count: int = COUNT) -> Generation:
    """What the golden device gives."""
    return generate(GoldenTransport(C), sampled, count)


def generate(transport: Transport, sampled: bool = True, count: int = COUNT,
             on_token=None) -> Generation:
    """Loads the model and generates."""
    driver = Driver(transport, image())
    return driver.generate(PROMPT, count, on_token, sampler(image()) if sampled else None)
