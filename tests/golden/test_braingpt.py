"""BrainGPTForCausalLM: our folders behind from_pretrained and generate of `transformers`."""

import dataclasses
import importlib
import json
import math

import pytest
import tokenizers
import torch
from safetensors.torch import load_file

from golden.checkpoints.checkpoint import (
    Checkpoint,
    load_checkpoint,
    random_checkpoint,
    save_checkpoint,
)
from golden.checkpoints.config import Attention, ModelConfig
from golden.evaluation.perplexity import perplexity
from golden.float_model.arithmetic import KeyValueCache
from golden.float_model.model import FloatModel
from golden.quantisation.calibrate import quantise_calibrated
from golden.spiking_model.model import SpikingModel
from isa.errors import SpikeletError
from isa.schedule import Population
from tests import seeds
from tests.golden.folders import BRAINGPT, config_json, tensors, write_folder
from tests.golden.models import random_shape

transformers = pytest.importorskip("transformers", reason="install transformers")
braingpt = importlib.import_module("golden.float_model.braingpt")   # it needs transformers

TOLERANCE = 1e-4
THRESHOLDS = {Population.down: (90, 50, 25, 12, 6, 3, 2, 1)}
ENDS = dict(bos_token_id=0, eos_token_id=0)


def random_ids(c: ModelConfig, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seeds.seed())
    return torch.randint(1, c.vocab, shape, generator=generator)


def untrained_config(c: ModelConfig, **changes):
    keys = config_json(random_checkpoint(c, 0), BRAINGPT, **changes)
    return braingpt.BrainGPTConfig(**keys, attention_bias=c.qkv_bias)


def greedy(model: FloatModel, prompt: list[int], count: int, end: int) -> list[int]:
    """The likeliest token again and again, up to and with the end token."""
    cache, ids = KeyValueCache(model.config), list(prompt)
    logits = model(torch.tensor(ids), cache=cache)[-1]
    for _ in range(count):
        ids.append(int(logits.argmax()))
        if ids[-1] == end:
            break
        logits = model(torch.tensor(ids[-1:]), cache=cache)[-1]
    return ids


CASES = {"tied": dict(tied=True, qkv_bias=False), "untied": dict(tied=False, qkv_bias=True),
         "gate": dict(attention=Attention.gate, heads=6, kv_heads=2, dim=36),
         "wide heads": dict(heads=4, kv_heads=2, dim=20, head_dim=16)}


@pytest.fixture(autouse=True)
def one_thread():
    """Threads cost more than they save on models of this size, the more so on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=CASES)
def pair(request, tmp_path):
    """A checkpoint, and what from_pretrained makes of its folder."""
    shape = random_shape(request.param, **CASES[request.param])
    checkpoint = Checkpoint(shape, random_checkpoint(shape, seeds.seed()).weights, THRESHOLDS)
    save_checkpoint(checkpoint, tmp_path / "model", extra=ENDS)
    model, found = braingpt.BrainGPTForCausalLM.from_pretrained(
        tmp_path / "model", output_loading_info=True)
    assert not any(found.values()), found
    return checkpoint, model


@torch.inference_mode()
def test_equals_the_float_model(pair):
    checkpoint, model = pair
    c = checkpoint.config
    ids = random_ids(c, 2, c.context)
    expected = FloatModel(checkpoint)(ids)
    assert expected.std() > 0.3
    assert (model(ids).logits - expected).abs().max() < TOLERANCE
    assert torch.equal(model(ids, logits_to_keep=2).logits.argmax(-1),
                       expected[:, -2:].argmax(-1))
    cache = None
    for chunk, part in zip(ids.split([4, 1, 3, c.context - 8], 1),
                           expected.split([4, 1, 3, c.context - 8], 1), strict=True):
        result = model(chunk, **{braingpt.CACHE: cache})
        cache = result[braingpt.CACHE]
        assert (result.logits - part).abs().max() < TOLERANCE


@torch.inference_mode()
def test_greedy_generation_is_our_own_loop(pair):
    checkpoint, model = pair
    ours, prompts = FloatModel(checkpoint), random_ids(checkpoint.config, 2, 5)
    for prompt in prompts.tolist():
        free = greedy(ours, prompt, 15, end=-1)
        for end in (0, free[9]):       # one that may never come, and one that comes
            got = model.generate(torch.tensor([prompt]), max_new_tokens=15, do_sample=False,
                                 eos_token_id=end, pad_token_id=0)[0].tolist()
            assert got == greedy(ours, prompt, 15, end)
    assert model.generation_config.eos_token_id == 0      # from config.json


@torch.inference_mode()
def test_sampling(pair):
    checkpoint, model = pair
    ours, prompt = FloatModel(checkpoint), random_ids(checkpoint.config, 1, 4)
    texts = []
    for seed in (1, 1, 2, 3):
        torch.manual_seed(seed)
        texts.append(model.generate(prompt, max_new_tokens=12, do_sample=True, top_k=5,
                                    temperature=50.0, eos_token_id=None, pad_token_id=0))
    assert torch.equal(texts[0], texts[1])
    assert len({tuple(text[0].tolist()) for text in texts}) == 3
    for text in texts:
        logits = ours(text)[0, 3:-1]
        rank = (logits > logits.gather(1, text[0, 4:, None])).sum(1)
        assert len(rank) == 12 and rank.max() < 5


@torch.inference_mode()
def test_padded_batch_is_each_sequence_alone(pair):
    checkpoint, model = pair
    rows = [random_ids(checkpoint.config, n).tolist() for n in (7, 3, 1)]
    batch = torch.tensor([[0] * (7 - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (7 - len(row)) + [1] * len(row) for row in rows])
    together = model(batch, attention_mask=mask).logits
    assert torch.isfinite(together).all()
    made = model.generate(batch, attention_mask=mask, max_new_tokens=8, do_sample=False,
                          eos_token_id=None, pad_token_id=0)
    ours = FloatModel(checkpoint)
    for n, row in enumerate(rows):
        alone = ours(torch.tensor(row))
        assert (together[n, -len(row):] - alone).abs().max() < TOLERANCE
        assert made[n].tolist()[7 - len(row):] == greedy(ours, row, 8, end=-1)


@torch.inference_mode()
def test_loss_is_the_perplexity(pair):
    checkpoint, model = pair
    ids = random_ids(checkpoint.config, 1, 20)
    expected = perplexity(FloatModel(checkpoint), ids.tolist()).value
    assert math.exp(model(ids, labels=ids).loss) == pytest.approx(expected, rel=1e-4)


def test_saved_and_loaded_again(pair, tmp_path):
    checkpoint, model = pair
    model.save_pretrained(tmp_path / "library")
    save_checkpoint(model.checkpoint(), tmp_path / "ours", extra=ENDS)
    expected = tensors(checkpoint, wrapped=True)
    for folder in (tmp_path / "library", tmp_path / "ours"):
        saved = load_file(folder / "model.safetensors")
        assert saved.keys() == expected.keys()
        assert all(torch.equal(value, expected[name]) for name, value in saved.items())
        loaded = load_checkpoint(folder)
        assert loaded.config == checkpoint.config and loaded.thresholds == THRESHOLDS
        for name, weight in loaded.weights.items():
            assert (weight == checkpoint.weights[name]).all(), name
        again = transformers.AutoModelForCausalLM.from_pretrained(folder)
        assert type(again) is braingpt.BrainGPTForCausalLM
        assert again.config.shape() == checkpoint.config
        assert again.generation_config.eos_token_id == again.config.bos_token_id == 0
        assert (again.lm_head.weight is again.get_input_embeddings().weight) == loaded.config.tied


def test_untrained_model_trains():
    """An own model made from a config learns one sequence: gradients reach every weight."""
    torch.manual_seed(seeds.seed())
    shape = random_shape("training", tied=False, qkv_bias=True, vocab=30)
    config = untrained_config(shape)
    model = braingpt.BrainGPTForCausalLM(config)
    ids = random_ids(shape, 1, 16)
    optimiser, losses = torch.optim.AdamW(model.parameters(), 1e-2), []
    for _ in range(40):
        loss = model(ids, labels=ids, use_cache=False).loss
        optimiser.zero_grad()
        loss.backward()
        assert all(p.grad is not None for p in model.parameters())
        optimiser.step()
        losses.append(loss.item())
    print("losses", losses)
    assert min(losses) < 0.5 * losses[0]     # 0.00 to 0.28 with eight seeds


def test_released_extras_and_shards(tmp_path):
    """Shards, and the SiLU tables that released checkpoints carry in each MLP."""
    checkpoint = random_checkpoint(random_shape("shards", layers=2), seeds.seed())
    write_folder(tmp_path, checkpoint, BRAINGPT, shards=2,
                 attention_bias=checkpoint.config.qkv_bias,
                 more={"model.layers.1.mlp.act_fn.neuron.threshold": torch.ones(10)})
    model, found = braingpt.BrainGPTForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(found.values()), found
    ids = random_ids(checkpoint.config, 1, 9)
    assert (model(ids).logits - FloatModel(checkpoint)(ids)).abs().max() < TOLERANCE


def test_keys_of_later_files(tmp_path):
    """rope_theta inside rope_parameters, as newer versions of the library write it."""
    shape = random_shape("later", rope_theta=10000.0, qkv_bias=True)
    rope = dict(rope_type="default", rope_theta=500.0)
    config = untrained_config(shape, rope_parameters=rope)
    assert config.shape() == dataclasses.replace(shape, rope_theta=500.0)
    config.save_pretrained(tmp_path)
    again = transformers.AutoConfig.from_pretrained(tmp_path)
    assert type(again) is braingpt.BrainGPTConfig and again.shape() == config.shape()


@pytest.mark.parametrize("change, message", [
    (dict(rope_scaling=dict(rope_type="yarn", factor=4.0)), "yarn"),
    (dict(rope_parameters=dict(rope_type="linear", factor=2.0)), "linear"),
    (dict(hidden_act="gelu"), "silu"), (dict(use_sliding_window=True), "sliding window"),
    (dict(attention="linear"), "'linear'"), (dict(num_key_value_heads=5), "heads")])
def test_what_is_not_computed(tmp_path, change, message):
    checkpoint = random_checkpoint(random_shape("refused", heads=4, kv_heads=2), 0)
    write_folder(tmp_path, checkpoint, BRAINGPT, **change)
    with pytest.raises(SpikeletError, match=message) as caught:
        braingpt.BrainGPTForCausalLM.from_pretrained(tmp_path)
    assert "\n" not in str(caught.value)


def test_wrong_caches_and_masks():
    shape = random_shape("masks")
    model = braingpt.BrainGPTForCausalLM(untrained_config(shape))
    ids = random_ids(shape, 1, 4)
    with pytest.raises(SpikeletError, match="dynamic cache"):
        model.generate(ids, max_new_tokens=2, cache_implementation="static")
    with pytest.raises(SpikeletError, match="1 sequences of 4 positions"):
        model(ids, attention_mask=torch.zeros(1, 3))
    with pytest.raises(SpikeletError, match=f"context of {shape.context}"):
        model(random_ids(shape, 1, shape.context + 1))


@torch.inference_mode()
def test_spiking(tmp_path):
    """The integers' logits behind the same interface, of the weights as they are."""
    checkpoint = random_checkpoint(random_shape("spiking", attention=Attention.softmax,
                                                dim=36, heads=6, kv_heads=3), seeds.seed())
    save_checkpoint(checkpoint, tmp_path)
    documents = random_ids(checkpoint.config, 2, 20).tolist()
    integers = SpikingModel(quantise_calibrated(checkpoint, documents))
    model = braingpt.BrainGPTForCausalLM.from_pretrained(tmp_path)
    ids = random_ids(checkpoint.config, 2, 6)
    plain = model(ids).logits
    assert model.spiking(documents) is model
    logits = model(ids).logits
    assert torch.equal(logits, torch.stack([integers.log_logits(row) for row in ids]).float())
    error = ((logits - plain).square().mean() / plain.square().mean()).sqrt()
    assert 0 < error < 0.1             # 0.027 to 0.044 with eight seeds
    made = model.generate(ids[:1], max_new_tokens=4, do_sample=False, pad_token_id=0)
    expected = ids[0].tolist()
    for _ in range(4):
        expected.append(int(integers.log_logits(torch.tensor(expected))[-1].argmax()))
    assert made[0].tolist() == expected
    with pytest.raises(SpikeletError, match="without padding"):
        model(ids, attention_mask=torch.tensor([[0, 1, 1, 1, 1, 1]] * 2))


def test_tokenizer(tmp_path):
    """AutoTokenizer on a folder with tokenizer.json and tokenizer_config.json."""
    levels = tokenizers.pre_tokenizers.ByteLevel
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = levels(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.train_from_iterator(
        ["Once upon a time there was a cat who sat on a mat. "] * 3,
        tokenizers.trainers.BpeTrainer(
            vocab_size=290, special_tokens=["<|endoftext|>"], initial_alphabet=levels.alphabet(),
            show_progress=False))
    checkpoint = random_checkpoint(random_shape("tokens", vocab=300), seeds.seed())
    save_checkpoint(checkpoint, tmp_path, extra=ENDS)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(dict(
        tokenizer_class="PreTrainedTokenizerFast", bos_token="<|endoftext|>", padding_side="left",
        eos_token="<|endoftext|>", pad_token="<|endoftext|>", clean_up_tokenization_spaces=False)))
    auto = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in ("Once upon a time , isn't it?", " \n\n  two", "é 🙂 \x00 ∀"):
        ids = auto(text)["input_ids"]
        assert ids == tokenizer.encode(text).ids and max(ids) < 290
        assert auto.decode(ids) == text
    assert auto.bos_token_id == auto.eos_token_id == auto.pad_token_id == 0
    auto.save_pretrained(tmp_path / "again")
    again = transformers.AutoTokenizer.from_pretrained(tmp_path / "again")
    assert again("a cat")["input_ids"] == auto("a cat")["input_ids"]
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    batch = auto(["Once upon a time", "the cat"], return_tensors="pt", padding=True)
    made = model.generate(**batch, max_new_tokens=5, do_sample=False)
    for row, text in zip(made, ("Once upon a time", "the cat"), strict=True):
        expected = greedy(FloatModel(checkpoint), tokenizer.encode(text).ids, 5, end=0)
        assert [i for i in row.tolist() if i] == [i for i in expected if i]
