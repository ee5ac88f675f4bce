"""Tokens a second of a model on a device, derived from cycles that the simulator counts."""

from dataclasses import dataclass, replace

from host.transport import Transport
from isa.configurations import configuration
from isa.image import Image

POSITION = 64


@dataclass(frozen=True)
class Speed:
    """Cycles from token to token at `position`, and link words streamed meanwhile."""

    position: int
    cycles: int
    streamed_words: int

    def tokens_a_second(self, clock_hz: float, words_a_second: float) -> float:
        """At a clock, and as fast as the link brings streamed weights."""
        return 1 / max(self.cycles / clock_hz, self.streamed_words / words_a_second)


def measure(image: Image, transport: Transport) -> Speed:
    """Runs a model on a simulated device up to position 64, or as far as its context goes."""
    from host.driver import Driver

    last = min(POSITION, image.context - 1)
    prompt = [n % image.model["vocab"] for n in range(1, last + 1)]
    endless = replace(image, settings=image.settings | {"end_token_enable": 0})
    driver = Driver(transport, endless)
    before, after = (driver.generate(prompt, count).counters["cycles"] for count in (1, 2))
    return Speed(last, after - before, image.streamed_words)


def derive(image: Image, tell=None) -> Speed:
    """The speed of a model on the simulator of its configuration, which is built when missing."""
    from host.transport.simulated import SimulatedTransport

    with SimulatedTransport(configuration(image.configuration), progress=tell) as transport:
        return measure(image, transport)
