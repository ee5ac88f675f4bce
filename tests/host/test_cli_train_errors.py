"""Every mistake in training: one clear line, exit code 2, and what was there before is whole."""

import errno
import os
import shutil

import pytest
import torch

from golden.checkpoints.checkpoint import random_checkpoint, save_checkpoint, save_llama2c
from golden.training import sample
from golden.training.initial import untrained
from host import cli
from tests.golden.training import END, VOCAB, full, write_tokenizer
from tests.golden.training import SHAPE as OTHER
from tests.host.train_files import PLASTICITY, QUANTISED, words, write_text
from tests.seeds import seed


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A text, a tokenizer, checkpoints with and without one, wrong files of every kind."""
    from dataclasses import replace

    folder = tmp_path_factory.mktemp("good")
    write_text(folder / "text.txt")
    write_tokenizer(folder / "words")
    shape = replace(OTHER, vocab=VOCAB, context=32)
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    for name, config in (("stage1", shape), ("wide", replace(shape, vocab=VOCAB + 1))):
        save_checkpoint(untrained(config, seed()), folder / name,
                        folder / "words" / "tokenizer.json", ends)
    shutil.copytree(folder / "stage1", folder / "endless")
    save_checkpoint(untrained(shape, seed()), folder / "endless",
                    extra={"bos_token_id": None, "eos_token_id": None})
    save_checkpoint(untrained(shape, seed()), folder / "wordless")
    save_llama2c(random_checkpoint(replace(shape, tied=True), seed()), folder / "model.bin")
    shutil.copytree(folder / "stage1", folder / "cut")
    weights = folder / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    shutil.copytree(folder / "stage1", folder / "nan")
    weights = folder / "nan" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\x00\x00\xc0\x7f")
    for name, raw in {"empty.txt": f" \n{END}\n".encode(), "latin.txt": b"caf\xe9", "file": b"",
                      "short.txt": b"the cat sees the dog"}.items():
        (folder / name).write_bytes(raw)
    for name, stage in (("damaged", "quantised"), ("damaged3", "plasticity")):
        write_tokenizer(folder / name)
        (folder / name / f"{stage}.state.pt").write_bytes(b"PK no state")
    write_tokenizer(folder / "begun")
    assert cli.main(words((*FIRST, "--out", folder / "begun", "--text", folder / "text.txt",
                           "--tokenizer", folder / "words"))) == 0
    return folder


FIRST = (*QUANTISED, "--steps", 1)
QUANTISE = {"--text": "text.txt", "--out": "new", "--tokenizer": "words"}
PLAST = {"--text": "text.txt", "--out": "new", "--model": "stage1"}
CONVERT = {"--text": "text.txt", "--model": "stage1", "--config": "small"}
SAMPLE = {"--teacher": "stage1", "--out": "new.txt", "--tokens": 10}
TOKENIZER = {"--text": "text.txt", "--out": "new", "--vocab": VOCAB}
COMMANDS = {"quantised": (FIRST, QUANTISE), "plasticity": ((*PLASTICITY, "--steps", 1), PLAST),
            "convert": (("train", "convert"), CONVERT), "sample": (("train", "sample"), SAMPLE),
            "tokenizer": (("train", "tokenizer"), TOKENIZER)}

CASES = [
    *((command, {"--text": text}, message) for command in ("quantised", "plasticity", "convert",
                                                           "tokenizer")
      for text, message in (("absent.txt", "absent.txt does not exist"), ("empty.txt", "is empty"),
                            ("latin.txt", "is no UTF-8 text"), ("words", "words"))),
    *((command, {"--tokenizer": "absent.json"}, "absent.json does not exist")
      for command in ("quantised", "plasticity", "convert", "sample")),
    *((command, {"--out": "file"}, "file is a file: give a folder")
      for command in ("quantised", "plasticity", "tokenizer")),
    *((command, {"--out": "file/below"}, "cannot make the folder")
      for command in ("quantised", "plasticity", "tokenizer")),
    *((command, {option: value}, f"{option} is {value}")
      for command in ("quantised", "plasticity")
      for option, value in (("--steps", "0"), ("--batch", "-1"), ("--length", "0"),
                            ("--rate", "nan"), ("--rate", "inf"), ("--distil", "1.5"),
                            ("--distil", "nan"))),
    *((command, {"--length": "3000"}, "give more text, or a shorter --length")
      for command in ("quantised",)),
    *((command, {"--text": "short.txt"}, "give more text, or a shorter --length")
      for command in ("quantised", "plasticity")),
    *(("plasticity", {"--model": model}, message) for model, message in (
        ("absent", "checkpoint absent does not exist"), ("wordless", "comes without a tokenizer"),
        ("cut", "truncated"), ("nan", "1 of "), ("text.txt", "not look like a llama2.c"))),
    *(("quantised", {"--init": model, "--tokenizer": None}, message) for model, message in (
        ("absent", "checkpoint absent does not exist"), ("wordless", "comes without a tokenizer"),
        ("model.bin", "comes without a tokenizer"), ("cut", "truncated"), ("nan", "1 of "))),
    ("quantised", {"--attention": "quantum"}, "--attention is 'quantum': use softmax or gate"),
    ("quantised", {"--distil": 0.5}, "--distil learns a teacher's distribution: give --teacher"),
    ("quantised", {"--text": None}, "there is nothing to learn: give --text, or a --teacher"),
    ("quantised", {"--float-share": "-0.1"}, "--float-share is -0.1"),
    ("quantised", {"--sample-tokens": 0}, "--sample-tokens is 0"),
    ("quantised", {"--kv-heads": 3}, "heads cannot share 3 key/value heads"),
    ("quantised", {"--head-dim": 7}, "even head_dim"),
    ("quantised", {"--dim": 0}, "needs dim of at least 1"),
    ("quantised", {"--steps": "many"}, "--steps"),
    ("quantised", {"--tokenizer": None, "--vocab": 200}, "no room beside the 256 bytes"),
    ("quantised", {"--tokenizer": None, "--vocab": 5000}, "gives only"),
    ("quantised", {"--tokenizer": None, "--out": "words", "--vocab": 310}, "give --vocab 300"),
    ("quantised", {"--teacher": "absent", "--distil": 1}, "absent does not exist"),
    ("quantised", {"--teacher": "wide", "--distil": 1},
     "the teacher has 301 tokens, the model 300"),
    ("quantised", {"--teacher": "wordless", "--distil": 1, "--tokenizer": None},
     "wordless comes without a tokenizer"),
    ("quantised", {"--teacher": "endless", "--text": None}, "names no token that begins and ends"),
    ("quantised", {"--out": "damaged"}, "quantised.state.pt is damaged: delete it"),
    ("quantised", {"--out": "begun", "--seed": 5}, "belongs to a run with other settings"),
    ("quantised", {"--out": "begun", "--dim": 8}, "with another model to begin with"),
    ("quantised", {"--compiled": ""}, "--compiled needs a C++ compiler"),
    ("plasticity", {"--compiled": ""}, "--compiled needs a C++ compiler"),
    ("plasticity", {"--compiled": "", "--eta-w": "0.1"}, "--compiled is without eta_w: leave it"),
    ("plasticity", {"--compiled": "", "--ablation": ""}, "--ablation compares terms"),
    ("plasticity", {"--out": "damaged3"}, "plasticity.state.pt is damaged: delete it"),
    ("plasticity", {"--out": "stage1"}, "--out is the folder of --model"),
    ("plasticity", {"--spikes": "0"}, "--spikes is 0"),
    ("plasticity", {"--spikes": "nan"}, "--spikes is nan"),
    ("plasticity", {"--eta-w": "-1"}, "--eta-w is -1"),
    ("plasticity", {"--neuron-rate": "-1"}, "--neuron-rate is -1"),
    ("plasticity", {"--lambda-time": "inf"}, "--lambda-time is inf"),
    ("convert", {"--model": "absent"}, "checkpoint absent does not exist"),
    ("convert", {"--model": "wordless"}, "comes without a tokenizer"),
    ("convert", {"--model": "cut"}, "truncated"),
    ("convert", {"--tokens": 1}, "--tokens is 1: give 2 or more"),
    ("convert", {"--out": "no/new.image"}, "its folder does not exist"),
    ("convert", {"--out": "new.image", "--config": "big"}, "no configuration 'big'"),
    ("sample", {"--teacher": "absent"}, "checkpoint absent does not exist"),
    ("sample", {"--teacher": "wordless"}, "comes without a tokenizer"),
    ("sample", {"--teacher": "endless"}, "names no token that begins and ends"),
    ("sample", {"--teacher": "nan"}, "1 of "),
    ("sample", {"--out": "words"}, "cannot write words: give a file in a folder that exists"),
    ("sample", {"--out": "no/new.txt"}, "cannot write no/new.txt"),
    *(("sample", {option: value}, f"{option} is {value}: give a number above 0")
      for option, value in (("--tokens", "0"), ("--workers", "0"), ("--temperature", "0"),
                            ("--temperature", "nan"))),
    ("tokenizer", {"--vocab": 257}, "no room beside the 256 bytes"),
    ("tokenizer", {"--vocab": 9999}, "gives only"),
]  # fmt: skip


def command(name: str, changes: dict) -> list[str]:
    first, options = COMMANDS[name]
    pairs = [pair for pair in (options | changes).items() if pair[1] is not None]
    return [part for part in words((*first, *(p for pair in pairs for p in pair))) if part]


@pytest.fixture
def here(good, tmp_path, monkeypatch):
    shutil.copytree(good, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CXX", "no-such-compiler")
    return tmp_path


def one_line(result, message: str) -> None:
    assert result.status == 2, result.err
    lines = [line for line in result.err.splitlines() if not line.startswith("stage ")]
    assert len(lines) == 1 and lines[0].startswith("spikelet: "), result.err
    assert message in lines[0]


@pytest.mark.parametrize("name, changes, message", CASES,
                         ids=[f"{name} {changes}" for name, changes, _ in CASES])
def test_one_line_and_code_2(run, here, good, name, changes, message):
    one_line(run(*command(name, changes)), message)
    for path in good.rglob("*"):
        if path.is_file():
            assert (here / path.relative_to(good)).read_bytes() == path.read_bytes(), path


@pytest.mark.parametrize("name, module, function, message", [
    ("quantised", torch, "save", "cannot write new/quantised.state.pt (is the disk full?)"),
    ("plasticity", torch, "save", "cannot write new/plasticity.state.pt (is the disk full?)"),
    ("quantised", os, "fsync", "cannot keep the text's tokens in new/tokens.npy"),
    ("tokenizer", os, "fsync", "cannot write new/tokenizer.json: No space left on device"),
    ("sample", sample, "Teacher", "cannot write new.txt.partial: No space left on device"),
])  # fmt: skip
def test_a_full_disk(run, here, monkeypatch, name, module, function, message):
    if name == "sample":
        monkeypatch.setattr(sample, "Teacher", lambda *arguments: None)
        monkeypatch.setattr(sample, "_workers", full)
    else:
        monkeypatch.setattr(module, function, full)
    one_line(run(*command(name, {})), message)
    assert not [path for path in here.rglob(".*") if path.is_file()]


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer_config.json"])
def test_a_disk_that_fills_at_the_checkpoint(run, here, monkeypatch, name):
    """The state is kept, so that the same command goes on; an old checkpoint stays."""
    from golden.checkpoints import atomic

    (here / "new").mkdir()
    (here / "new" / name).write_text("old")
    really = atomic.tempfile.mkstemp

    def mkstemp(prefix, dir):
        if prefix == f".{name}-":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return really(prefix=prefix, dir=dir)

    with monkeypatch.context() as patch:
        patch.setattr(atomic.tempfile, "mkstemp", mkstemp)
        one_line(run(*command("quantised", {})), "No space left on device")
    assert (here / "new" / name).read_text() == "old"
    result = run(*command("quantised", {}))
    assert result.status == 0 and "0 tokens in 0 s" in result.out
    assert (here / "new" / name).read_text(errors="replace") != "old"


def test_results_on_a_full_disk(run, here, monkeypatch):
    from pathlib import Path

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        one_line(run(*command("quantised", {})), "cannot write new/quantised.json: No space left")
