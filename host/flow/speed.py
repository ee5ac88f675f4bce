"""How fast a model runs on a device, derived from the cycles that the simulator counts."""

from dataclasses import dataclass, replace

from host.transport import Transport
from isa.configurations import configuration
from isa.image import Image

POSITION = 64


@dataclass(frozen=True)
class Speed:
    """What a token takes at `position` of the context: clock cycles and streamed link words."""

    position: int
    cycles: int
    streamed_words: int

    def tokens_a_second(self, clock_hz: float, words_a_second: float) -> float:
        """Tokens a second at this clock and over a link of this speed, whichever is slower."""
        return 1 / max(self.cycles / clock_hz, self.streamed_words / words_a_second)


def measure(image: Image, transport: Transport) -> Speed:
    """Measures a token at POSITION on a simulated device, or at the end of a shorter context."""
    from host.driver import Driver

    last = min(POSITION, image.context - 1)
    prompt = [n % image.model["vocab"] for n in range(1, last + 1)]
    endless = replace(image, settings=image.settings | {"end_token_enable": 0})
    driver = Driver(transport, endless)
    before, after = (driver.generate(prompt, count).counters["cycles"] for count in (1, 2))
    return Speed(last, after - before, image.streamed_words)


def derive(image: Image, tell=None) -> Speed:
    """Measures a model on the simulator of its configuration, which is built on first use.

    `tell` is called with (stage, fraction) while it is built.
    """
    from host.transport.simulated import SimulatedTransport

    with SimulatedTransport(configuration(image.configuration), progress=tell) as transport:
        return measure(image, transport)
