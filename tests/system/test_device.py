"""RTL = golden device: every vector, code, token, logit and counter, with stalls on the link."""

import numpy as np
import pytest

from golden.checkpoints.config import ModelConfig
from isa.registers import Stop
from tests.golden.models import ODD, SEED, TINY, TINY_GATE
from tests.system.pairs import Pair, random_model

# More heads than lanes' worth, head size 64, untied head, biases, nothing a multiple of 32.
WIDE = ModelConfig(dim=72, hidden=150, layers=2, heads=9, kv_heads=3, head_dim=64, vocab=203,
                   context=64, rope_theta=5000.0, norm_epsilon=1e-6, tied=False, qkv_bias=True)


def prompt(config: ModelConfig, n: int) -> list[int]:
    print(f"seed {SEED}")
    return np.random.default_rng(SEED).integers(0, config.vocab, n).tolist()


@pytest.mark.parametrize("stalls", [0.0, 0.4])
@pytest.mark.parametrize("weights", ["resident", "streamed"])
def test_tiny_every_vector(weights: str, stalls: float) -> None:
    with Pair(random_model(TINY, SEED), "tiny", weights) as pair:
        pair.simulated.device.stalls(stalls, stalls, SEED)
        pair.generate(prompt(TINY, 6), 12)
        pair.logits(prompt(TINY, 3))
        layout = pair.image.model["needs"]
        pair.rows(0, min(layout["row_depth"], pair.c.row_depth) if weights == "resident" else 0)


@pytest.mark.parametrize("weights", ["resident", "streamed"])
def test_attention_without_softmax(weights: str) -> None:
    with Pair(random_model(TINY_GATE, SEED), "tiny", weights) as pair:
        pair.simulated.device.stalls(0.3, 0.3, SEED)
        pair.generate(prompt(TINY_GATE, 6), 12)
        pair.logits(prompt(TINY_GATE, 3))


def test_tiny_unary_schedule_gives_the_same_tokens() -> None:
    q = random_model(TINY, SEED)
    with Pair(q, "tiny") as phase, Pair(q, "tiny", schedule="unary") as unary:
        one, two = phase.generate(prompt(TINY, 4), 6), unary.generate(prompt(TINY, 4), 6)
    assert one.tokens == two.tokens
    assert two.counters["spikes"] > 3 * one.counters["spikes"]
    assert two.counters["cycles"] > one.counters["cycles"]


def test_generation_stops_when_the_context_is_full() -> None:
    with Pair(random_model(TINY, SEED), "tiny", context=12) as pair:
        result = pair.generate(prompt(TINY, 5), 30)
    assert result.stop == Stop.CONTEXT_FULL
    assert len(result.tokens) == 12 - 5 + 1


def test_generation_stops_at_the_end_token() -> None:
    q, start = random_model(TINY, SEED), prompt(TINY, 5)
    with Pair(q, "tiny") as pair:
        tokens = pair.generate(start, 8).tokens
    end = tokens[-1]
    with Pair(q, "tiny", end_token=end) as pair:
        result = pair.generate(start, 30)
    assert result.stop == Stop.END_TOKEN
    assert result.tokens == tokens[: tokens.index(end) + 1]


def test_runs_follow_one_another_on_one_device() -> None:
    with Pair(random_model(TINY, SEED), "tiny") as pair:
        first = pair.generate(prompt(TINY, 3), 4)
        pair.generate(prompt(TINY, 9), 5)
        again = pair.generate(prompt(TINY, 3), 4)
    assert first.tokens == again.tokens
    assert first.counters["cycles"] == again.counters["cycles"]


@pytest.mark.parametrize("name, config", [
    ("ulx3s", ODD), pytest.param("small", WIDE, marks=pytest.mark.extra),
], ids=["ulx3s", "small"])  # fmt: skip
@pytest.mark.parametrize("weights", ["resident", "streamed"])
def test_another_shape(weights: str, name: str, config: ModelConfig) -> None:
    """Grouped heads, biases, untied head, odd sizes: nothing is tied to one checkpoint."""
    with Pair(random_model(config, SEED), name, weights) as pair:
        pair.generate(prompt(config, 4), 3)
        pair.logits(prompt(config, 2))
