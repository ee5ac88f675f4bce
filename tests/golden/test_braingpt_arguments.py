"""BrainGPT in `transformers`: what is handed to it is used, or refused by its name."""

import importlib
import json

import pytest
import torch

from golden.checkpoints.checkpoint import random_checkpoint, save_checkpoint
from golden.checkpoints.config import Attention
from isa.errors import SpikeletError
from tests import seeds
from tests.golden.folders import BRAINGPT, config_json, write_folder
from tests.golden.models import random_shape

transformers = pytest.importorskip("transformers", reason="install transformers")
braingpt = importlib.import_module("golden.float_model.braingpt")   # these two need transformers
library = importlib.import_module("tests.golden.library")

TOLERANCE = 1e-4


@pytest.fixture
def checkpoint():
    """Weights of a shape that Qwen2 has, too."""
    shape = random_shape("arguments", qkv_bias=True, heads=4, kv_heads=2, dim=24, vocab=60,
                         context=40)
    return random_checkpoint(shape, seeds.seed())


@pytest.fixture
def model(checkpoint, tmp_path):
    save_checkpoint(checkpoint, tmp_path / "model")
    return braingpt.BrainGPTForCausalLM.from_pretrained(tmp_path / "model")


def random_ids(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seeds.seed())
    return torch.randint(1, 60, shape, generator=generator)


@torch.inference_mode()
@pytest.mark.parametrize("name", ["cache", "past_key_values"])
def test_both_names_of_the_cache(model, name):
    ids = random_ids(2, 12)
    expected = model(ids, use_cache=False).logits
    for given in (None, transformers.DynamicCache()):
        first = model(ids[:, :7], **{name: given})
        cache = first[library.CACHE]        # where generate() of this version looks for it
        assert library.CACHE in first and cache.get_seq_length() == 7
        assert given is None or cache is given
        rest = model(ids[:, 7:], **{name: cache})
        assert rest[library.CACHE] is cache and cache.get_seq_length() == 12
        assert (rest.logits - expected[:, 7:]).abs().max() < TOLERANCE
    assert library.CACHE not in model(ids, use_cache=False)
    with pytest.raises(SpikeletError, match="cache and past_key_values"):
        model(ids, cache=cache, past_key_values=cache)


@torch.inference_mode()
def test_generate_goes_on_from_a_cache(model):
    """generate() computes each position once, and goes on from a cache that it is given."""
    ids = random_ids(1, 6)
    options = dict(do_sample=False, eos_token_id=None, pad_token_id=0)
    whole = model.generate(ids, max_new_tokens=9, use_cache=False, **options)
    lengths = []
    hook = model.model.register_forward_pre_hook(lambda _, args: lengths.append(args[0].shape[1]))
    assert torch.equal(model.generate(ids, max_new_tokens=9, **options), whole)
    assert lengths == [6] + [1] * 8
    lengths.clear()
    cache = model(ids[:, :4])[library.CACHE]
    assert torch.equal(model.generate(ids, max_new_tokens=9, **{library.CACHE: cache}, **options),
                       whole)
    assert lengths == [4, 2] + [1] * 8
    hook.remove()


@torch.inference_mode()
@pytest.mark.parametrize("beams", [dict(num_beams=3), dict(num_beams=4, num_return_sequences=3),
                                   dict(num_beams=3, use_cache=False),
                                   dict(num_beams=2, length_penalty=0.0, early_stopping=True)])
def test_beams_are_the_librarys(checkpoint, model, beams):
    """Beam search with padding on the left: the texts and scores of Qwen2 with these weights."""
    oracle = library.filled(checkpoint, "Qwen2")
    ids, mask = random_ids(3, 6), torch.ones(3, 6, dtype=torch.long)
    for row, padding in enumerate((0, 2, 5)):
        ids[row, :padding], mask[row, :padding] = 0, 0
    texts = []
    for one in (model, oracle):
        made = one.generate(ids, attention_mask=mask, max_new_tokens=10, do_sample=False,
                            eos_token_id=7, pad_token_id=0, return_dict_in_generate=True,
                            output_scores=True, **beams)
        texts.append((made.sequences, made.sequences_scores))
    assert torch.equal(texts[0][0], texts[1][0])
    assert (texts[0][1] - texts[1][1]).abs().max() < TOLERANCE
    greedy = model.generate(ids, attention_mask=mask, max_new_tokens=10, do_sample=False,
                            eos_token_id=7, pad_token_id=0)
    assert not torch.equal(greedy, texts[0][0][::beams.get("num_return_sequences", 1)])


@torch.inference_mode()
def test_sampling_is_the_librarys(checkpoint, model):
    """A padded batch, drawn from the same random numbers as Qwen2 with these weights."""
    ids, mask = random_ids(2, 5), torch.ones(2, 5, dtype=torch.long)
    ids[1, :3], mask[1, :3] = 0, 0
    texts = []
    for one in (model, library.filled(checkpoint, "Qwen2")):
        torch.manual_seed(seeds.seed())
        texts.append(one.generate(ids, attention_mask=mask, max_new_tokens=12, do_sample=True,
                                  top_k=0, num_return_sequences=3, eos_token_id=None,
                                  pad_token_id=0))
    assert texts[0].shape == (6, 17) and torch.equal(*texts)


@torch.inference_mode()
@pytest.mark.parametrize("name, value", [
    ("inputs_embeds", torch.zeros(1, 4, 24)), ("token_type_ids", torch.zeros(1, 4)),
    ("output_attentions", True), ("output_hidden_states", True), ("head_mask", None),
    ("is_causal", False), ("pask_key_values", None), ("cache_positions", torch.arange(4))])
def test_arguments_without_use(model, name, value):
    ids = random_ids(1, 4)
    expected = model(ids).logits
    with pytest.raises(SpikeletError, match=name) as caught:
        model(ids, **{name: value})
    assert "\n" not in str(caught.value)
    # What the library hands over where nobody asked for anything.
    plain = model(ids, cache_position=torch.arange(4), inputs_embeds=None, output_attentions=False,
                  output_hidden_states=None, token_type_ids=None, return_dict=True)
    assert torch.equal(plain.logits, expected)
    assert isinstance(model(ids, return_dict=False), tuple)


@torch.inference_mode()
def test_what_generate_cannot_have(model):
    ids = random_ids(1, 4)
    for options in (dict(cache_implementation="static"),
                    dict(output_attentions=True, return_dict_in_generate=True),
                    dict(output_hidden_states=True, return_dict_in_generate=True)):
        with pytest.raises(SpikeletError, match="BrainGPT") as caught:
            model.generate(ids, max_new_tokens=3, pad_token_id=0, **options)
        assert "\n" not in str(caught.value)
    for options in (dict(token_type_ids=torch.zeros(1, 4)), dict(top_q=1)):
        with pytest.raises(ValueError, match=next(iter(options))):     # the library's own words
            model.generate(ids, max_new_tokens=3, pad_token_id=0, **options)
    sliding = config_json(random_checkpoint(random_shape("sliding"), 0), {},
                          use_sliding_window=True, max_window_layers=0)
    cache = transformers.DynamicCache(config=transformers.Qwen2Config(**sliding))
    with pytest.raises(SpikeletError, match="all positions"):
        model(ids, cache=cache)
    with pytest.raises(SpikeletError, match="all positions"):
        model(ids, cache=((ids, ids),))
    with pytest.raises(SpikeletError, match="input_ids"):
        model(attention_mask=torch.ones(1, 4))
    with pytest.raises(SpikeletError, match="1 sequences of 4 positions"):
        model(ids, attention_mask=torch.ones(1, 1, 4, 4))


@torch.inference_mode()
def test_loss_of_a_larger_batch(model):
    ids = random_ids(2, 9)
    mean = model(ids, labels=ids).loss
    assert model(ids, labels=ids, num_items_in_batch=32).loss == pytest.approx(mean * 16 / 32)


@torch.inference_mode()
def test_the_spiking_model_ignores_nothing(tmp_path):
    shape = random_shape("spiking arguments", attention=Attention.softmax, vocab=60)
    save_checkpoint(random_checkpoint(shape, seeds.seed()), tmp_path)
    model = braingpt.BrainGPTForCausalLM.from_pretrained(tmp_path)
    ids = random_ids(1, 6)
    model.spiking(random_ids(2, 12).tolist())
    plain = model(ids).logits
    assert torch.equal(model(ids, position_ids=torch.arange(6)[None]).logits, plain)
    for given in (dict(position_ids=torch.arange(6)[None] + 1), dict(use_cache=True),
                  dict(cache=transformers.DynamicCache())):
        with pytest.raises(SpikeletError, match="whole texts"):
            model(ids, **given)
    with pytest.raises(SpikeletError, match="output_attentions"):
        model(ids, output_attentions=True)


def test_keys_of_released_checkpoints(checkpoint, tmp_path):
    """Keys of Qwen2's files and of released BrainGPT's; an unused sliding window is not used.

    The library's cache would keep `sliding_window` positions where its config has that key.
    """
    write_folder(tmp_path, checkpoint, BRAINGPT, sliding_window=8, max_window_layers=28,
                 attention_dropout=0.0, bos_token_id=1, eos_token_id=2, initializer_range=0.02,
                 torch_dtype="float32", transformers_version="4.43.1", use_cache=True, beta=0.1,
                 _name_or_path="somewhere", S_target=0.1, V_rest=-70.0, T_target=10)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    ids = random_ids(1, 6)
    made = model.generate(ids, max_new_tokens=30, do_sample=False, eos_token_id=None,
                          pad_token_id=0)
    assert torch.equal(made, library.filled(checkpoint, "Qwen2").generate(
        ids, max_new_tokens=30, do_sample=False, eos_token_id=None, pad_token_id=0))


@pytest.mark.parametrize("change, message", [
    (dict(qk_norm=True), "qk_norm"), (dict(hiden_act="silu"), "hiden_act"),
    (dict(temperature=0.5), "temperature"), (dict(attention_dropout=0.1), "attention_dropout 0.1"),
    (dict(mlp_bias=True), "mlp_bias"), (dict(pretraining_tp=2), "pretraining_tp"),
    (dict(partial_rotary_factor=0.5), "partial_rotary_factor"),
    (dict(rope_parameters=dict(rope_type="default", partial_rotary_factor=0.5)), "partial_rotary"),
    (dict(rope_parameters=dict(rope_theta=100.0, mrope_section=[1, 1, 2])), "mrope_section"),
    (dict(layer_types=["full_attention", "sliding_attention"]), "sliding window"),
    (dict(quantization_config=dict(quant_method="gptq")), "quantised"),
    (dict(output_hidden_states=True), "output_hidden_states"),
    (dict(model_type="qwen2"), "model_type 'qwen2'"),
    (dict(is_encoder_decoder=True), "is_encoder_decoder")])
def test_keys_that_would_be_another_model(checkpoint, tmp_path, change, message):
    (tmp_path / "config.json").write_text(json.dumps(config_json(checkpoint, BRAINGPT, **change)))
    with pytest.raises(SpikeletError, match=message) as caught:
        braingpt.BrainGPTConfig.from_pretrained(tmp_path)
    assert "\n" not in str(caught.value)


def test_configurations_there_and_back(checkpoint, model, tmp_path):
    """Every key that the library writes of ours is one that ours takes."""
    config = model.config
    for made in (braingpt.BrainGPTConfig(**config.to_dict()), braingpt.BrainGPTConfig.from_dict(
            config.to_dict()), braingpt.BrainGPTConfig(**config.to_diff_dict())):
        assert made.shape() == config.shape() == checkpoint.config
        assert made.to_dict() == config.to_dict() | dict(_name_or_path=made.name_or_path)
    other = braingpt.BrainGPTConfig(**config.to_dict() | dict(intermediate_size=99))
    assert other != config and other.shape().hidden == 99
    assert config.to_diff_dict()["hidden_size"] == 24
    assert braingpt.BrainGPTConfig().shape().dim == 4096
    config.save_pretrained(tmp_path / "config")
    assert transformers.AutoConfig.from_pretrained(tmp_path / "config").shape() == config.shape()
    with pytest.raises(SpikeletError, match="gelu"):       # set after the file was read
        braingpt.BrainGPTForCausalLM.from_pretrained(tmp_path / "model", hidden_act="gelu")
    with pytest.raises(TypeError, match="atention"):
        braingpt.BrainGPTForCausalLM.from_pretrained(tmp_path / "model", atention="gate")
    with pytest.raises(TypeError, match="positional"):
        braingpt.BrainGPTConfig(151936)
