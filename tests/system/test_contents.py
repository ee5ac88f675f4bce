"""A model in the memories at power-on, as a bitstream brings it: golden tokens without loading."""

import numpy as np
import pytest

from golden.checkpoints.config import ModelConfig
from host.compiler.compile import compile_model
from host.driver import Driver
from host.flow.speed import measure
from host.transport.golden import GoldenTransport
from host.transport.packets import PacketLink
from host.transport.simulated import SimulatedTransport
from isa.configurations import configuration
from isa.contents import Contents, contents, entry_words, image_identity
from isa.errors import SpikeletError
from isa.image import Image, Section
from isa.packets import Space
from tests.golden.models import SEED, TINY, TINY_GATE
from tests.system.pairs import random_model

C = configuration("tiny")


def image(config: ModelConfig = TINY) -> Image:
    return compile_model(random_model(config, SEED), C)


class Counting(SimulatedTransport):
    """Counts the words that the host sends."""

    sent = 0

    def send(self, words: np.ndarray) -> None:
        self.sent += words.size
        super().send(words)


def prompt(config: ModelConfig, n: int) -> list[int]:
    print(f"seed {SEED}")
    return np.random.default_rng(SEED).integers(0, config.vocab, n).tolist()


def golden_tokens(model: Image, tokens: list[int], count: int) -> list[int]:
    return Driver(GoldenTransport(C), model).generate(tokens, count).tokens


@pytest.mark.extra  # a simulator of its own
def test_a_preloaded_device_generates_without_loading() -> None:
    model = image()
    tokens = prompt(TINY, 6)
    with Counting(C, contents=contents(model, C)) as device:
        driver = Driver(device, model)
        assert device.sent < 10  # the identity was read, nothing else
        assert driver.generate(tokens, 12).tokens == golden_tokens(model, tokens, 12)
        for section in model.sections:
            if section.space is Space.ROW:
                found = PacketLink(device).read(Space.ROW, section.address, section.words.size)
                assert np.array_equal(found, section.words)


def test_cycles_of_a_token_for_the_derived_speed() -> None:
    """Of the token at position 64, or of the context's last, with its head."""
    model = image()
    with SimulatedTransport(C) as device:
        speed = measure(model, device)
        driver = Driver(device, model)
        prompt = [n % TINY.vocab for n in range(1, speed.position + 1)]
        one, two = (driver.generate(prompt, n).counters for n in (1, 2))
    assert speed.position == min(64, model.context - 1) and speed.streamed_words == 0
    assert two["tokens"] == one["tokens"] + 1 == speed.position + 1
    assert speed.cycles == two["cycles"] - one["cycles"]
    assert one["cycles"] / one["tokens"] < 2 * speed.cycles  # of the size of any other token


def test_another_model_is_loaded_over_a_preloaded_one() -> None:
    first, second = image(), image(TINY_GATE)
    tokens = prompt(TINY_GATE, 5)
    assert image_identity(first) != image_identity(second)
    with Counting(C, contents=contents(first, C)) as device:
        driver = Driver(device, second)
        assert device.sent > second.loaded_words
        assert driver.generate(tokens, 8).tokens == golden_tokens(second, tokens, 8)
        before = device.sent
        Driver(device, first)  # no longer there: it must be loaded again
        assert device.sent > before + first.loaded_words


def test_contents_are_what_loading_leaves_in_the_golden_device() -> None:
    model = image()
    golden = GoldenTransport(C)
    Driver(golden, model)
    held = contents(model, C)
    assert set(held.entries) == {section.space for section in model.sections}
    for space, entries in held.entries.items():
        words = entry_words(space, C)
        raw = b"".join(entry.to_bytes(4 * words, "little") for entry in entries)
        memory = golden.device.memories.link[space]
        found = np.zeros(memory.size, "<u4")
        found[: len(raw) // 4] = np.frombuffer(raw, "<u4")
        assert np.array_equal(found, memory), space.name
    row = len(held.of(Space.ROW)) // C.cores // 2
    assert held.rows(1, C.cores)[row] == held.of(Space.ROW)[row * C.cores + 1]


def test_sections_that_overlap_or_end_within_an_entry() -> None:
    words = np.arange(1, 6, dtype=np.uint32)
    base = image()
    model = Image(base.configuration, base.identity, base.model, base.settings,
                  [Section(Space.ROW, 1, words), Section(Space.ROW, 0, words[:2])])
    held = contents(model, C).of(Space.ROW)  # two words an entry; the later section wins
    assert list(held) == [1 | 2 << 32, 2 | 3 << 32, 4 | 5 << 32]


def test_identity_follows_what_is_loaded_and_nothing_else() -> None:
    model = image()
    same = Image(model.configuration, model.identity, {"context": 1}, model.settings,
                 model.sections)
    assert image_identity(same) == image_identity(model) != 0
    settings = Image(model.configuration, model.identity, model.model,
                     model.settings | {"product_shift": 1}, model.sections)
    section = model.sections[0]
    changed = section.words.copy()
    changed[-1] ^= 1
    weights = Image(model.configuration, model.identity, model.model, model.settings,
                    [Section(section.space, section.address, changed), *model.sections[1:]])
    assert len({image_identity(m) for m in (model, settings, weights)}) == 3
    assert Contents().identity == 0


def test_an_image_for_another_configuration_is_refused() -> None:
    with pytest.raises(SpikeletError, match="made for the configuration 'tiny', not for 'small'"):
        contents(image(), configuration("small"))
