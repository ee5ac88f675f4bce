"""Weights in external memory: RTL = golden device, with a memory that stalls and with SDRAM."""

import numpy as np
import pytest

from golden.checkpoints.config import ModelConfig
from host.compiler.compile import compile_model
from host.transport.packets import PacketLink
from isa.configurations import configuration
from isa.errors import SpikeletError
from isa.packets import Space
from sim.memory import SimulatedMemory
from tests.golden.models import ODD, ODD_GATE, SEED, TINY, TINY_GATE
from tests.system.pairs import Pair, random_model
from tests.system.test_device import WIDE, prompt

FAST, SDRAM = SimulatedMemory(chip=None), SimulatedMemory()
MODELS = {"softmax": TINY, "gate": TINY_GATE}
LARGE = {"odd": ODD, "odd gate": ODD_GATE, "wide": WIDE}


@pytest.mark.parametrize("stalls", [0.0, 0.4, 0.9])
@pytest.mark.parametrize("model", MODELS)
def test_every_vector_with_a_memory_that_stalls(model: str, stalls: float) -> None:
    config = MODELS[model]
    with Pair(random_model(config, SEED), "tiny_sdram", "external", memory=FAST) as pair:
        pair.simulated.device.stalls(stalls / 2, stalls / 2, SEED)
        pair.simulated.device.memory_stalls(stalls, SEED)
        pair.generate(prompt(config, 6), 12)
        pair.generate(prompt(config, 2), 3)
        pair.logits(prompt(config, 3))


@pytest.mark.parametrize("model", MODELS)
def test_every_vector_with_sdram(model: str) -> None:
    config = MODELS[model]
    with Pair(random_model(config, SEED), "tiny_sdram", "external", memory=SDRAM) as pair:
        pair.simulated.device.stalls(0.3, 0.3, SEED)
        pair.generate(prompt(config, 6), 12)
        pair.logits(prompt(config, 3))


def test_external_weights_give_the_tokens_of_resident_ones() -> None:
    q, start = random_model(TINY, SEED), prompt(TINY, 4)
    with Pair(q, "tiny_sdram", "external", memory=FAST) as pair, Pair(q, "tiny") as resident:
        assert pair.generate(start, 10).tokens == resident.generate(start, 10).tokens


def test_written_words_read_back() -> None:
    """Anywhere, across rows and banks; nothing beyond the end; while nothing runs."""
    print(f"seed {SEED}")
    rng = np.random.default_rng(SEED)
    with Pair(random_model(TINY, SEED), "tiny_sdram", "external", memory=SDRAM) as pair:
        words, links = pair.c.external_words, (PacketLink(pair.golden), PacketLink(pair.simulated))
        places = [40_000, 50_000 - 3, words - 5, words - 300, words, 1 << 30]
        for address in [*places, *rng.integers(30_000, words, 5).tolist()]:
            data = rng.integers(0, 1 << 32, 300, dtype=np.uint32)
            for link in links:
                link.write(Space.EXTERNAL, address, data)
            first = max(0, address - 7)
            expected, got = (link.read(Space.EXTERNAL, first, 320) for link in links)
            assert np.array_equal(got, expected) or first + 320 > address + 300
            inside = min(max(0, words - address), 300)
            assert np.array_equal(got[address - first :][:inside], data[:inside])
            beyond = max(0, words - first)
            assert not got[beyond:].any()
        # The model's own words are untouched.
        section = next(s for s in pair.image.sections if s.space is Space.EXTERNAL)
        got = links[1].read(Space.EXTERNAL, section.address, 200)
        assert np.array_equal(got, section.words[:200])
        pair.generate(prompt(TINY, 3), 4)


@pytest.mark.parametrize("write", [False, True])
def test_external_memory_is_refused_during_a_run(write: bool) -> None:
    q = random_model(TINY, SEED)
    with Pair(q, "tiny_sdram", "external", memory=FAST) as pair:
        link = PacketLink(pair.simulated)

        def access(token: int) -> None:
            if write:
                link.write(Space.EXTERNAL, 0, np.zeros(4, np.uint32))
            else:
                link.read(Space.EXTERNAL, 0, 4)

        with pytest.raises(SpikeletError, match="a run goes on"):
            pair.drivers[1].generate(prompt(TINY, 3), 20, access)


@pytest.mark.parametrize("write", [False, True])
def test_no_external_memory_is_one_clear_line(write: bool) -> None:
    q = random_model(TINY, SEED)
    with pytest.raises(SpikeletError, match=r"external_words 1816 \(it has 0\); use --config "):
        compile_model(q, configuration("tiny"), weights="external")
    with Pair(q, "tiny") as pair:
        for transport in (pair.golden, pair.simulated):
            link = PacketLink(transport)
            with pytest.raises(SpikeletError, match="no such memory"):
                if write:
                    link.write(Space.EXTERNAL, 0, np.zeros(4, np.uint32))
                link.read(Space.EXTERNAL, 0, 4)


def test_an_image_that_is_too_large_is_one_clear_line() -> None:
    wide = ModelConfig(dim=64, hidden=512, layers=3, heads=4, kv_heads=2, head_dim=4, vocab=600,
                       context=16)  # fmt: skip
    with pytest.raises(SpikeletError, match=r"external_words \d+ \(it has 65536\)") as raised:
        compile_model(random_model(wide, SEED), configuration("tiny_sdram"), weights="external")
    assert "\n" not in str(raised.value)
    assert "--config ulx3s_sdram" in str(raised.value)


@pytest.mark.extra  # compiling this simulator takes long
@pytest.mark.parametrize("model", LARGE)
def test_other_shapes(model: str) -> None:
    """Narrow tiles, biases, padded heads, untied head on the board's configuration."""
    config = LARGE[model]
    with Pair(random_model(config, SEED), "ulx3s_sdram", "external", memory=SDRAM) as pair:
        pair.generate(prompt(config, 4), 3)
        pair.logits(prompt(config, 2))
