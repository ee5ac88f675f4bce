"""spikelet train, every command from its text to its checkpoint, image and table."""

import io
import json
import os
import re
import shutil
import sys

import numpy as np
import pytest

from golden.checkpoints.checkpoint import load_checkpoint
from golden.spiking_model.model import SpikingModel
from golden.tokenizers.load import load_tokenizer
from golden.training import plasticity_stage, quantised_stage
from host import cli
from isa.schedule import EXACT_THRESHOLDS
from tests.golden.test_training_sample import in_process, write_teacher
from tests.golden.training import END, at_call
from tests.host.train_files import PLASTICITY, QUANTISED, SHAPE, STEPS, words, write_text

__all__ = ["in_process"]     # a fixture
FILES = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """text.txt, and stage1 and stage3 as the commands make them."""
    folder = tmp_path_factory.mktemp("made")
    text = write_text(folder / "text.txt")
    assert cli.main(words((*QUANTISED, "--text", text, "--out", folder / "stage1"))) == 0
    assert cli.main(words((*PLASTICITY, "--model", folder / "stage1", "--text", text, "--out",
                           folder / "stage3"))) == 0
    return folder


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    """A folder of its own with text.txt and stage1, and in it the command runs."""
    shutil.copy(made / "text.txt", tmp_path)
    shutil.copytree(made / "stage1", tmp_path / "stage1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_help_has_examples(run):
    for command in ((), ("sample",), ("tokenizer",), ("quantised",), ("convert",), ("plasticity",)):
        result = run("train", *command, "--help")
        assert result.status == 0 and "Example" in result.out
        assert f"spikelet train {command[0] if command else 'quantised'} --" in result.out


def test_tokenizer(run, here):
    result = run("train", "tokenizer", "--text", "text.txt", "--out", "new/words", "--vocab", 290)
    assert result.status == 0 and result.out == "new/words/tokenizer.json: 290 tokens\n"
    found = load_tokenizer(here / "new" / "words")
    assert found.vocab == 290 and found.begin == found.end == 0


@pytest.mark.parametrize("stage, name", [("stage1", "quantised"), ("stage3", "plasticity")])
def test_what_a_stage_leaves(made, stage, name):
    folder = made / stage
    assert set(os.listdir(folder)) == FILES | {f"{name}.json", f"{name}.state.pt", "tokens.npy"}
    checkpoint, tokenizer = load_checkpoint(folder), load_tokenizer(folder)
    assert (checkpoint.config.dim, checkpoint.config.context) == (16, 32)
    assert checkpoint.config.vocab == tokenizer.vocab == 300 and tokenizer.begin == 0
    assert bool(checkpoint.thresholds) == (stage == "stage3")
    results = json.loads((folder / f"{name}.json").read_text())
    assert results["stage"] == name and results["tokens_this_run"] == 6 * 4 * 32
    assert results["settings"]["steps"] == 6 and results["settings"]["seed"] == 0
    assert results["hardware"] and 1 < results["loss"] < 10
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == "braingpt" and config["eos_token_id"] == 0
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    assert settings == {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": END, "eos_token": END,
        "pad_token": END, "padding_side": "left", "clean_up_tokenization_spaces": False,
        "model_max_length": 32}


def test_transformers_reads_the_tokenizer(made):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(made / "stage1")
    ours = load_tokenizer(made / "stage1")
    for text in ("the cat sees the dog.", "Zo\u00eb , 's"):
        assert theirs(text)["input_ids"] == ours.encode(text, bos=False)
        assert theirs.decode(theirs(text)["input_ids"]) == text
    assert theirs.eos_token_id == theirs.pad_token_id == 0 and theirs.model_max_length == 32


def tables(out: str) -> dict[str, str]:
    return dict(re.findall(r"^(.+?)  +(.+)$", out, re.MULTILINE))


def test_quantised_goes_on_after_an_interrupt(run, made, here, monkeypatch):
    command = (*QUANTISED, "--text", "text.txt", "--out", "again")
    with monkeypatch.context() as patch:
        patch.setattr(quantised_stage, "cross_entropy",
                      at_call(4, quantised_stage.cross_entropy, KeyboardInterrupt()))
        result = run(*command)
    assert (result.status, result.out.splitlines()[1:]) == (130, [])    # made the tokenizer
    assert result.err.splitlines()[-1] == "spikelet: interrupted" and "Traceback" not in result.err
    assert "model.safetensors" not in os.listdir(here / "again")
    result = run(*command)
    assert result.status == 0, result.err
    assert "stage 1: 6/6 steps, loss " in result.err
    shown = tables(result.out)
    assert shown["steps"] == "6 of 4 x 32 tokens" and shown["checkpoint"] == "again"
    assert shown["this run"].startswith(f"{3 * 4 * 32:,} tokens in ")
    assert float(shown["held-out perplexity"].split()[0]) > 1
    assert 0 < float(shown["signed spikes a neuron"].split()[0]) < 4
    for name in ("model.safetensors", "config.json"):
        assert (here / "again" / name).read_bytes() == (made / "stage1" / name).read_bytes()


def test_plasticity_goes_on_after_an_interrupt(run, made, here, monkeypatch):
    command = (*PLASTICITY, "--model", "stage1", "--text", "text.txt", "--out", "again")
    with monkeypatch.context() as patch:
        patch.setattr(plasticity_stage, "neuron_rule",
                      at_call(4, plasticity_stage.neuron_rule, KeyboardInterrupt()))
        assert run(*command).status == 130
    result = run(*command)
    assert result.status == 0, result.err
    for name in ("model.safetensors", "config.json"):
        assert (here / "again" / name).read_bytes() == (made / "stage3" / name).read_bytes()
    before, after, change = re.search(
        r"signed spikes a neuron.*?(\d\.\d\d) +(\d\.\d\d) +([-+.\d]+)%", result.out).groups()
    assert float(after) < float(before) and float(change) < 0
    thresholds = re.findall(r"thresholds of (\w+), phases 7..0 +([\d, ]+)", result.out)
    found = load_checkpoint(here / "again").thresholds
    assert {name: tuple(map(int, t.split(", "))) for name, t in thresholds} == found
    assert any(t != EXACT_THRESHOLDS for t in found.values())
    results = json.loads((here / "again" / "plasticity.json").read_text())
    assert results["thresholds"] == {name: list(t) for name, t in found.items()}


@pytest.mark.parametrize("stage, kinds", [("stage1", 3), ("stage3", 2)])
def test_convert(run, made, tmp_path, stage, kinds):
    image = tmp_path / "new.image"
    result = run("train", "convert", "--model", made / stage, "--text", made / "text.txt",
                 "--tokens", 20, "--out", image, "--config", "small")
    assert result.status == 0, result.err
    rows = re.findall(r"^(\S.*?)  +([\d,]+) +(\d+) +([\d,]+|-)$", result.out, re.MULTILINE)
    assert [(logits, different) for _, logits, different, _ in rows] == [("6,000", "0")] * kinds
    assert f"new.image: {image.stat().st_size:,} bytes for 'small'" in result.out
    assert run("compile", "--model", made / stage, "--config", "small", "--out",
               tmp_path / "compiled.image").status == 0
    assert image.read_bytes() == (tmp_path / "compiled.image").read_bytes()
    told = run("generate", "--model", image, "--tokenizer", made / stage / "tokenizer.json",
               "--prompt", "the cat", "--device", "golden", "--max-new-tokens", 3)
    assert told.status == 0 and told.out.startswith("the cat")


def test_a_wrong_integer_is_named(run, made, monkeypatch):
    """Exit code 2, with the first position and token."""
    really = SpikingModel.forward

    def forward(self, ids):
        logits = really(self, ids).clone()
        logits[3, 7] += getattr(self.gathers, "fired", 0) > 0   # only where neurons step in time
        return logits

    monkeypatch.setattr(SpikingModel, "forward", forward)
    result = run("train", "convert", "--model", made / "stage1", "--text", made / "text.txt",
                 "--tokens", 6)
    assert result.status == 2
    assert result.err.splitlines()[-1].startswith("spikelet: the spiking model (")
    assert "first at position 3, token 7: this is a defect" in result.err
    assert re.search(r"^codes at once +1,800 +0 ", result.out, re.MULTILINE)
    assert len(re.findall(r"^\w+ +1,800 +1 ", result.out, re.MULTILINE)) == 2


def test_ablation(run, here):
    result = run("train", "plasticity", "--model", "stage1", "--text", "text.txt", "--out", "trial",
                 "--ablation", "--steps", 2, "--batch", 2, "--length", 16)
    assert result.status == 0, result.err
    rows = re.findall(r"^(\S.*?)  +([\d.]+)  +([-+.\d]+%)?  +([\d.]+)$", result.out, re.MULTILINE)
    assert len(rows) == 11 and rows[0][0] == "stage 1"
    names = " ".join(name for name, *_ in rows)
    for term in ("eta_theta", "eta_alpha", "eta_w", "lambda_neuron", "lambda_potential",
                 "lambda_time", "lambda_C", "distillation", "no plasticity"):
        assert term in names
    assert "variant 10/10: " in result.err and not (here / "trial" / "model.safetensors").exists()


def test_from_a_checkpoint_with_its_own_distribution(run, here):
    result = run("train", "quantised", *STEPS, "--init", "stage1", "--teacher", "stage1",
                 "--distil", 0.5, "--text", "text.txt", "--out", "more", "--attention", "softmax")
    assert result.status == 0, result.err
    start, after = load_checkpoint(here / "stage1"), load_checkpoint(here / "more")
    assert start.config == after.config
    assert not np.array_equal(start.weights["head"], after.weights["head"])
    assert set(os.listdir(here / "more")) >= FILES


def test_what_a_teacher_writes_and_thinks(run, here, in_process):
    """Neither text nor tokenizer is given: both are the teacher's."""
    write_teacher(here / "teacher")
    result = run("train", "quantised", *SHAPE[2:], *STEPS, "--length", 12, "--attention", "gate",
                 "--tied", "--teacher", "teacher", "--sample-tokens", 1500, "--distil", 1,
                 "--out", "new")
    assert result.status == 0, result.err
    assert "new/teacher.txt: " in result.out and "tokens of the teacher" in result.out
    found = load_checkpoint(here / "new")
    assert found.config.attention == "gate" and found.config.tied and found.config.context == 12
    assert (here / "new" / "tokenizer.json").read_bytes() == (
        here / "teacher" / "tokenizer.json").read_bytes()


def test_sample(run, here, in_process):
    write_teacher(here / "teacher")
    result = run("train", "sample", "--teacher", "teacher", "--out", "tales.txt", "--tokens", 1000,
                 "--temperature", 0.8)
    assert result.status == 0, result.err
    size = (here / "tales.txt").stat().st_size
    assert re.fullmatch(rf"tales.txt: {size:,} bytes, [\d,]+ tokens of the teacher \(\d+ s\)\n",
                        result.out)
    assert (here / "tales.txt").read_text().endswith(f"\n{END}\n")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("command", [
    (*QUANTISED[:2], *SHAPE, "--steps", 20, "--batch", 2, "--length", 32, "--out", "new"),
    (*PLASTICITY, "--model", "stage1", "--out", "new")], ids=lambda command: command[1])
def test_progress_fits_a_narrow_terminal(here, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert cli.main(words((*command, "--text", "text.txt"))) == 0
    shown = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", sys.stderr.getvalue())
    lines = [line.strip() for line in re.split(r"[\r\n]", shown) if "steps" in line]
    assert lines and all(len(line) <= 80 and "\u2026" not in line for line in lines)
    last = lines[-1]
    assert re.match(r"stage \d \S+ (6/6|20/20) steps, loss \d\.\d{4} nats, [\d,]+ tokens/s "
                    r"\d:\d\d:\d\d$", last), last
