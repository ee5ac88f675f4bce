"""spikelet convert: the image of compile, its report, and one line for every mistake."""

import errno
import os
import re
import shutil

import pytest

from golden.checkpoints.checkpoint import random_checkpoint, save_checkpoint, save_llama2c
from golden.checkpoints.config import ModelConfig
from host import cli
from host.cli.convert import _cut
from isa.image import load_image
from tests.golden.large import SCALED_DOWN, write_random_qwen2
from tests.host.files import PIECES, SHAPE, write_tokenizer
from tests.seeds import seed

BIASED = ModelConfig(dim=24, hidden=40, layers=3, heads=4, kv_heads=2, head_dim=6, vocab=23,
                     context=40, tied=False, qkv_bias=True)


@pytest.fixture
def here(folder, tmp_path, monkeypatch):
    """A folder of its own with model.bin, tokenizer.bin, text.txt, and `braingpt/`."""
    for name in ("model.bin", "tokenizer.bin", "text.txt", "resident.image"):
        shutil.copy(folder / name, tmp_path / name)
    save_checkpoint(random_checkpoint(BIASED, seed()), tmp_path / "braingpt")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("options", [[], ["--weights", "streamed"], ["--schedule", "unary"]],
                         ids=["resident", "streamed", "unary"])
@pytest.mark.parametrize("source, config", [("model.bin", "tiny"), ("braingpt", "small")])
def test_the_image_is_that_of_compile(run, here, source, config, options):
    result = run("convert", source, "converted.image", "--config", config, *options)
    assert result.status == 0, result.err
    compiled = run("compile", "--model", source, "--out", "compiled.image", "--config", config,
                   *options)
    assert compiled.status == 0, compiled.err
    assert (here / "converted.image").read_bytes() == (here / "compiled.image").read_bytes()
    assert "text that the model told: 4 documents" in result.out


@pytest.mark.parametrize("source, config",
                         [("model.bin", "tiny_sdram"), ("braingpt", "ulx3s_sdram")])
def test_the_image_with_external_weights_is_that_of_compile(run, here, source, config):
    test_the_image_is_that_of_compile(run, here, source, config, ["--weights", "external"])


def test_a_converted_image_generates(run, here):
    assert run("convert", "model.bin", "new.image", "--config", "tiny", "--tokenizer",
               "tokenizer.bin", "--text", "text.txt", "--context", "16").status == 0
    assert load_image(here / "new.image").context == 16
    result = run("generate", "--model", "new.image", "--tokenizer", "tokenizer.bin", "--prompt",
                 "bad", "--device", "golden", "--max-new-tokens", "5")
    assert result.status == 0, result.err


def test_report(run, here):
    result = run("convert", "braingpt", "new.image", "--config", "small", "--tokenizer",
                 "tokenizer.bin", "--text", "text.txt")
    assert result.status == 0, result.err
    out = result.out
    size = (here / "new.image").stat().st_size
    assert f"new.image: {size:,} bytes for 'small', context 40" in out
    assert re.search(r"tensors unused +none\n", out) and re.search(r"tensors missing +none\n", out)
    assert re.search(r"calibrated on +text.txt: 2 documents, 41 tokens\n", out)
    before = float(re.search(r"perplexity, float +([\d.]+) on 39 tokens", out)[1])
    after, change = re.search(r"perplexity, integers +([\d.]+) \(([-+.\d]+)%\)", out).groups()
    assert abs((float(after) / before - 1) * 100 - float(change)) < 0.01
    headroom = re.findall(r"^(\w+) +[\d.,e+-]+ +(\d+\.\d) +(\d|-)$", out, re.MULTILINE)
    assert [name for name, *_ in headroom] == [
        "embedding", "qkv", "rotated", "score", "mixed", "attended", "gate", "up", "silu",
        "product", "down", "logits"]
    assert all(0 < float(bits) < 24 for _, bits, _ in headroom)
    errors = re.findall(r"^(\d) +([\d.]+)% +([\d.]+)%$", out, re.MULTILINE)
    assert [layer for layer, *_ in errors] == ["0", "1", "2"]
    assert all(0 < float(error) < 20 for _, *both in errors for error in both)
    assert "converting: float embedding" in result.err
    assert "converting: integer embedding" in result.err
    parts = re.findall(r"^time, (\w+) +[\d.]+ s \([\d.]+ s of processors\)$", out, re.MULTILINE)
    assert parts == ["reading", "float", "integer"]


def test_unused_tensors_are_told(run, here):
    from golden.checkpoints import checkpoint as module

    names = tuple(f"model.layers.{n}.rotary_emb.inv_freq" for n in range(10))
    loaded = module.load_checkpoint(here / "braingpt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "load_checkpoint", lambda path: module.Checkpoint(
            loaded.config, loaded.weights, unused=names))
        out = run("convert", "braingpt", "new.image", "--config", "small").out
    shown = re.search(r"tensors unused((?:\n?.*)*?)\ntensors missing", out)[1]
    assert "model.layers.7.rotary_emb.inv_freq and 2 more" in " ".join(shown.split())


def test_the_text_that_ships(run, here):
    write_random_qwen2(here / "qwen", SCALED_DOWN, seed())
    result = run("convert", "qwen", "new.image", "--config", "large", "--weights", "streamed",
                 "--tokens", "70")
    assert result.status == 0, result.err
    assert "the text that ships: 1 documents, 70 tokens" in result.out
    assert "the head is the embedding" in result.out


def test_a_tokenizer_without_letters_for_the_text_that_ships(run, here):
    result = run("convert", "model.bin", "new.image", "--config", "tiny", "--tokenizer",
                 "tokenizer.bin")
    assert result.status == 0 and "text that the model told" in result.out


def test_documents_are_cut_to_the_tokens_asked_for():
    documents = [[1, 2, 3], [4, 5], [6, 7, 8, 9], [10, 11]]
    assert _cut(documents, 100) == documents
    assert _cut(documents, 7) == [[1, 2, 3], [4, 5], [6, 7]]
    assert _cut(documents, 6) == [[1, 2, 3], [4, 5]]
    assert _cut(documents, 2) == [[1, 2]]


def test_progress_names_every_layer(run, here, monkeypatch):
    from host.compiler import checkpoint_to_image as module

    stages = []
    really = module.calibrate
    monkeypatch.setattr(module, "calibrate", lambda *a, tell, **o: really(
        *a, tell=lambda done, stage: stages.append(stage), **o))
    assert run("convert", "braingpt", "new.image", "--config", "small").status == 0
    wanted = [f"{kind} {part}" for kind in ("float", "integer")
              for part in ("embedding", "layer 1/3", "layer 2/3", "layer 3/3", "head")]
    assert stages == wanted


WRONG = {
    "missing checkpoint": (["absent", "new.image"], "absent does not exist"),
    "an image": (["resident.image", "new.image"], "is an image already"),
    "a folder without a model": ([".", "new.image"], "config.json"),
    "out is a folder": (["model.bin", "braingpt"], "it is a folder; give a file name"),
    "out in no folder": (["model.bin", "no/new.image"], "its folder does not exist"),
    "out is the checkpoint": (["model.bin", "model.bin"], "belongs to the checkpoint"),
    "out in the checkpoint": (["braingpt", "braingpt/model.safetensors"],
                              "belongs to the checkpoint"),
    "missing text": (["model.bin", "new.image", "-t", "tokenizer.bin", "--text", "absent.txt"],
                     "absent.txt does not exist"),
    "empty corpus": (["model.bin", "new.image", "-t", "tokenizer.bin", "--text", "empty.txt"],
                     "is empty"),
    "text without tokens": (["model.bin", "new.image", "-t", "tokenizer.bin", "--text",
                             "other.txt"], "no token for"),
    "text without a tokenizer": (["model.bin", "new.image", "--text", "text.txt"],
                                 "comes without a tokenizer: give --tokenizer"),
    "missing tokenizer": (["model.bin", "new.image", "-t", "absent.bin"], "does not exist"),
    "tokenizer of another model": (["model.bin", "new.image", "-t", "wide.bin"], "tokens"),
    "unknown configuration": (["model.bin", "new.image", "-c", "big"], "no configuration 'big'"),
    "too small": (["qwen", "new.image", "-c", "small"],
                  "the model does not fit the configuration 'small': it needs"),
    "too small, hint": (["qwen", "new.image", "-c", "small"], "use --config large"),
    "too long": (["model.bin", "new.image", "-c", "tiny", "--context", "4000"], "context 4000"),
    "no context": (["model.bin", "new.image", "--context", "0"], "--context"),
    "one token": (["model.bin", "new.image", "--tokens", "1"], "--tokens"),
    "NaN in a file": (["nan.bin", "new.image", "-c", "tiny"], "not finite"),
    "NaN in a folder": (["nan", "new.image", "-c", "small"], "not finite"),
    "too loud": (["loud.bin", "new.image", "-c", "tiny"], "is too large for 24-bit vectors"),
}  # fmt: skip


def spoil(here) -> None:
    """Wrong files of every kind, and an old image."""
    (here / "new.image").write_bytes(b"old")
    (here / "empty.txt").write_text(" \n<|endoftext|>\n")
    (here / "other.txt").write_text("\u4f60\u597d")
    write_tokenizer(here / "wide.bin", [*PIECES, "t"])
    write_random_qwen2(here / "qwen", SCALED_DOWN, seed())
    checkpoint = random_checkpoint(SHAPE, seed())
    checkpoint.weights["layers.1.w_up"][:] *= 1e9
    save_llama2c(checkpoint, here / "loud.bin")
    raw = bytearray((here / "model.bin").read_bytes())
    raw[28:32] = b"\xff" * 4
    (here / "nan.bin").write_bytes(raw)
    shutil.copytree(here / "braingpt", here / "nan")
    file = here / "nan" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-4] + b"\xff" * 4)


@pytest.mark.parametrize("case", WRONG)
def test_one_line_and_the_old_image(case, run, here):
    spoil(here)
    before = sorted(os.listdir(here))
    arguments, message = WRONG[case]
    result = run("convert", *arguments)
    assert (result.status, result.out) == (2, "")
    lines = [line for line in result.err.splitlines() if line.startswith("spikelet: ")]
    assert len(lines) == 1 and message in lines[0], result.err
    assert "Traceback" not in result.err
    assert (here / "new.image").read_bytes() == b"old"
    assert sorted(os.listdir(here)) == before


@pytest.mark.parametrize("error, status", [(OSError(errno.ENOSPC, "No space left on device"), 2),
                                           (KeyboardInterrupt(), cli.INTERRUPTED)])
def test_what_happens_in_the_middle_leaves_the_old_image(run, here, monkeypatch, error, status):
    from isa.image import ImageWriter

    (here / "new.image").write_bytes(b"old")
    before, calls = sorted(os.listdir(here)), []
    really = ImageWriter._write

    def write(self, *arguments):
        calls.append(1)
        if len(calls) < 9:
            return really(self, *arguments)
        with self._explained():
            raise error

    monkeypatch.setattr(ImageWriter, "_write", write)
    result = run("convert", "model.bin", "new.image", "--config", "tiny")
    assert result.status == status
    assert len(calls) == 9 and result.err.splitlines()[-1].startswith("spikelet: ")
    assert (here / "new.image").read_bytes() == b"old"
    assert sorted(os.listdir(here)) == before


def test_an_accumulator_that_is_too_narrow(run, here, monkeypatch):
    """Known only when the integers are: said as it comes, with what is missing."""
    from dataclasses import replace

    from isa.configurations import CONFIGURATIONS

    narrow = replace(CONFIGURATIONS["small"], accumulator_bits=18, name="narrow")
    monkeypatch.setitem(CONFIGURATIONS, "narrow", narrow)
    (here / "new.image").write_bytes(b"old")
    result = run("convert", "braingpt", "new.image", "--config", "narrow", "--context", "8")
    assert result.status == 2
    assert re.search(r"'narrow': it needs accumulator_bits \d\d \(it has 18\); use --config small",
                     result.err)
    assert (here / "new.image").read_bytes() == b"old"
