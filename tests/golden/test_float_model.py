"""The float model against a plain numpy restatement, and its perplexity on the story model."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from golden.checkpoints.checkpoint import Checkpoint, random_checkpoint
from golden.checkpoints.config import Attention
from golden.evaluation.perplexity import perplexity, split_documents
from golden.float_model.arithmetic import KeyValueCache
from golden.float_model.model import FloatModel
from golden.tokenizers.llama2c import Llama2cTokenizer
from isa.errors import SpikeletError
from tests.golden.models import ODD, SEED, TINY, WIDE_HEADS, stories, stories_documents

GATE = dataclasses.replace(ODD, attention=Attention.gate)


def plain_forward(checkpoint: Checkpoint, ids: np.ndarray) -> np.ndarray:
    """One position after the other, one head after the other, in float64."""
    c = checkpoint.config

    def norm(x, weight):
        return x / np.sqrt((x * x).mean() + c.norm_epsilon) * weight

    def rotated(z, position):
        out = z.copy()
        for i in range(0, c.head_dim, 2):
            angle = position / c.rope_theta ** (i / c.head_dim)
            turn = complex(math.cos(angle), math.sin(angle)) * complex(z[i], z[i + 1])
            out[i], out[i + 1] = turn.real, turn.imag
        return out

    cache = [([], []) for _ in range(c.layers)]
    logits = []
    for position, token in enumerate(ids):
        x = checkpoint.embedding[token].astype(np.float64)
        for n in range(c.layers):
            w = {name: value.astype(np.float64) for name, value in checkpoint.layer(n).items()}
            h = norm(x, w["attention_norm"])
            q, k, v = (w[f"w{s}"] @ h + w.get(f"b{s}", 0.0) for s in "qkv")
            keys, values = cache[n]
            keys.append([rotated(head, position) for head in k.reshape(c.kv_heads, -1)])
            values.append(v.reshape(c.kv_heads, -1))
            heads = []
            for head, query in enumerate(q.reshape(c.heads, -1)):
                g = head * c.kv_heads // c.heads
                query = rotated(query, position)
                score = np.array([query @ key[g] for key in keys]) / math.sqrt(c.head_dim)
                if c.attention is Attention.gate:
                    p = np.maximum(score, 0) / (position + 1)
                else:
                    p = np.exp(score - score.max())
                    p /= p.sum()
                heads.append(sum(a * value[g] for a, value in zip(p, values, strict=True)))
            x = x + w["wo"] @ np.concatenate(heads)
            h = norm(x, w["mlp_norm"])
            gate = w["w_gate"] @ h
            x = x + w["w_down"] @ (gate / (1 + np.exp(-gate)) * (w["w_up"] @ h))
        logits.append(checkpoint.head @ norm(x, checkpoint.final_norm))
    return np.array(logits)


@pytest.mark.parametrize("config", [TINY, ODD, WIDE_HEADS, GATE], ids=["tiny", "odd", "wide",
                                                                      "gate"])
def test_equals_plain_restatement(config):
    print("seed", SEED)
    checkpoint = random_checkpoint(config, SEED)
    ids = np.random.default_rng(SEED).integers(0, config.vocab, 24)
    expected = plain_forward(checkpoint, ids)
    got = FloatModel(checkpoint)(torch.tensor(ids)).numpy()
    assert np.abs(got - expected).max() < 2e-4 * np.abs(expected).max()


@pytest.mark.parametrize("config", [TINY, ODD, GATE], ids=["tiny", "odd", "gate"])
@pytest.mark.parametrize("sizes", [[1] * 20, [20], [6] + [1] * 14, [1, 3, 9, 2, 5], [10, 10]],
                         ids=["one by one", "at once", "prompt", "mixed", "two"])
def test_cache_changes_nothing(config, sizes):
    print("seed", SEED)
    model = FloatModel(random_checkpoint(config, SEED))
    ids = torch.tensor(np.random.default_rng(SEED).integers(0, config.vocab, (3, 20)))
    expected = model(ids)
    cache = KeyValueCache(config, batch=3, context=20)
    logits = torch.cat([model(chunk, cache=cache) for chunk in ids.split(sizes, 1)], 1)
    assert expected.std() > 0.3
    assert (logits - expected).abs().max() < 1e-4


def test_what_is_too_long():
    model = FloatModel(random_checkpoint(TINY, 0))
    cache, roomy = KeyValueCache(TINY, context=8), KeyValueCache(TINY, context=2 * TINY.context)
    model(torch.arange(6), cache=cache)
    with pytest.raises(SpikeletError, match="9 tokens do not fit the model's context of 8"):
        model(torch.arange(3), cache=cache)
    assert cache.length == 6
    model(torch.arange(TINY.context - 1), cache=roomy)
    with pytest.raises(SpikeletError, match="context of 32"):
        model(torch.arange(2), cache=roomy)
    with pytest.raises(SpikeletError, match="context of 32"):
        model(torch.zeros(33, dtype=torch.int64))


def test_batch_is_each_sequence():
    model = FloatModel(random_checkpoint(ODD, SEED))
    ids = torch.randint(0, ODD.vocab, (3, 10), generator=torch.Generator().manual_seed(SEED))
    together = model(ids)
    for one, expected in zip(ids, together, strict=True):
        assert torch.allclose(model(one), expected, atol=1e-4)


def test_record_names_every_vector():
    record = {}
    FloatModel(random_checkpoint(TINY, 0))(torch.arange(5), record)
    assert {"embedding", "logits", "layers.1.q_rotated", "layers.1.product"} <= record.keys()
    assert record["layers.1.gate"].shape == (1, 5, TINY.hidden)


def test_perplexity_of_a_known_distribution():
    logits = torch.log(torch.tensor([0.5, 0.25, 0.125, 0.125])).expand(5, 4)
    result = perplexity(lambda ids: logits[:len(ids)], [[1, 0, 1], [1, 2]])
    assert result.tokens == 3
    assert result.value == pytest.approx((2 * 4 * 8) ** (1 / 3))


def test_empty_text():
    with pytest.raises(SpikeletError, match="empty"):
        split_documents(" <|endoftext|>\n",
                        Llama2cTokenizer([b"<unk>", b"<s>", b"</s>", b" "], [0.0] * 4))


def test_story_model_perplexity():
    model = FloatModel(stories())
    result = perplexity(model, stories_documents())
    assert result.tokens == 3476
    assert result.value == pytest.approx(5.2877, abs=1e-3)
