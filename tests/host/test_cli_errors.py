"""Every mistake of a user: one clear line on the error stream, exit code 2, nothing else."""

import os
import shutil
import struct

import pytest

from host import cli
from isa.image import HEADER
from tests.host import fake
from tests.host.files import PIECES, write_tokenizer


def spoil(folder, tmp_path):
    """Wrong files of every kind, by name."""
    model = (folder / "model.bin").read_bytes()
    image = (folder / "resident.image").read_bytes()
    wrong = {
        "empty.bin": b"",
        "truncated.bin": model[:-7],
        "oversized.bin": model + b"more",
        "foreign.bin": b"\x7fELF" + bytes(200),
        "text.bin": b"once upon a time there was no checkpoint",
        "huge.bin": struct.pack("<7i", 1 << 16, 1 << 18, 500, 64, 64, 1 << 19, 1 << 19),
        "nan.bin": model[:28] + struct.pack("<f", float("nan")) + model[32:],
        "version.image": image[:8] + struct.pack("<I", 77) + image[12:],
        "checksum.image": image[:-1] + bytes([image[-1] ^ 1]),
        "truncated.image": image[: HEADER.size + 10],
        "tokenizer_cut.bin": (folder / "tokenizer.bin").read_bytes()[:-2],
        "latin.txt": "caf\xe9".encode("latin-1"),
        "blank.txt": b" \n",
    }
    for name, raw in wrong.items():
        (tmp_path / name).write_bytes(raw)
    write_tokenizer(tmp_path / "tokenizer_small.bin", PIECES[:-3])
    spoil_folders(folder / "stories", tmp_path)
    for name in ("model.bin", "tokenizer.bin", "resident.image", "streamed.image", "text.txt"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())


def spoil_folders(good, tmp_path):
    """Folders of the good model in which one file is absent or has another text."""
    config, weights = (good / name for name in ("config.json", "model.safetensors"))
    for name, file, content in (
        ("wordless", "tokenizer.json", None),
        ("cut_words", "tokenizer.json", (good / "tokenizer.json").read_bytes()[:-9]),
        ("cut_config", "config.json", config.read_bytes()[:-9]),
        ("foreign", "config.json", config.read_bytes().replace(b"braingpt", b"gpt2")),
        ("contradictory", "config.json", config.read_bytes().replace(b": 24", b": 25")),
        ("no_end", "config.json", config.read_bytes().replace(b'"eos_token_id": 1',
                                                              b'"eos_token_id": 99')),
        ("weightless", "model.safetensors", None),
        ("cut", "model.safetensors", weights.read_bytes()[:-9]),
        ("nan", "model.safetensors", weights.read_bytes()[:-4] + b"\x00\x00\xc0\x7f"),
    ):
        shutil.copytree(good, tmp_path / name)
        (tmp_path / name / file).unlink()
        if content is not None:
            (tmp_path / name / file).write_bytes(content)


GENERATE = {"--model": "resident.image", "--tokenizer": "tokenizer.bin", "--prompt": "bad",
            "--device": "golden"}  # fmt: skip
FOLDER = {"--prompt": "bad", "--device": "golden"}
EVAL = {"--model": "model.bin", "--tokenizer": "tokenizer.bin", "--text": "text.txt"}
COMPILE = {"--model": "model.bin", "--out": "new.image", "--config": "tiny"}

CASES = {
    "missing checkpoint": (GENERATE, {"--model": "absent.bin"}, "absent.bin does not exist"),
    "folder as checkpoint": (GENERATE, {"--model": "."}, "is a folder"),
    "empty checkpoint": (GENERATE, {"--model": "empty.bin"}, "is empty"),
    "truncated checkpoint": (GENERATE, {"--model": "truncated.bin"}, "is truncated"),
    "oversized checkpoint": (GENERATE, {"--model": "oversized.bin"}, "is oversized"),
    "foreign checkpoint": (GENERATE, {"--model": "foreign.bin"}, "not look like a llama2.c"),
    "text as checkpoint": (GENERATE, {"--model": "text.bin"}, "not look like a llama2.c"),
    "header of a huge model": (GENERATE, {"--model": "huge.bin"}, "is truncated"),
    "checkpoint with a NaN": (GENERATE, {"--model": "nan.bin"}, "not finite"),
    "tokenizer as checkpoint": (GENERATE, {"--model": "tokenizer.bin"}, "not look like"),
    "image of another version": (GENERATE, {"--model": "version.image"}, "made for contract 77"),
    "image with a wrong checksum": (GENERATE, {"--model": "checksum.image"}, "checksum"),
    "truncated image": (GENERATE, {"--model": "truncated.image"}, "is truncated"),
    "image of another configuration": (GENERATE, {"--config": "small"}, "'tiny', not for 'small'"),
    "image of other weights": (GENERATE, {"--weights": "streamed"}, "with --weights resident"),
    "image of another schedule": (GENERATE, {"--schedule": "unary"}, "with --schedule phase"),
    "folder of another architecture": (FOLDER, {"--model": "foreign"}, "architecture 'gpt2'"),
    "folder with a truncated config": (FOLDER, {"--model": "cut_config"}, "truncated or no JSON"),
    "folder that contradicts itself": (FOLDER, {"--model": "contradictory"}, "contradicts"),
    "folder without weights": (FOLDER, {"--model": "weightless"}, "neither model.safetensors nor"),
    "folder with truncated weights": (FOLDER, {"--model": "cut"}, "is truncated"),
    "folder with a NaN": (FOLDER, {"--model": "nan", "--config": "tiny"}, "1 of "),
    "folder without a tokenizer": (FOLDER, {"--model": "wordless"}, "comes without a tokenizer"),
    "folder with a truncated tokenizer": (FOLDER, {"--model": "cut_words"}, "truncated or no JSON"),
    "folder with an end beyond its tokens": (FOLDER, {"--model": "no_end"}, "names token 99"),
    "one file of a folder": (FOLDER, {"--model": "cut/config.json"}, "give the folder"),
    "image and no tokenizer": (GENERATE, {"--tokenizer": None}, "comes without a tokenizer"),
    "llama2.c file and no tokenizer": (FOLDER, {"--model": "model.bin"}, "without a tokenizer"),
    "default prompt without its tokens": (FOLDER, {"--prompt": None}, "no token for 'O'"),
    "eval of a folder without a tokenizer": ("eval", {"--model": "wordless", "--text": "text.txt"},
                                             "comes without a tokenizer"),
    "eval without a text": ("eval", {}, "--text"),
    "info of a folder that contradicts itself": ("info", {"": "contradictory"}, "contradicts"),
    "missing tokenizer": (GENERATE, {"--tokenizer": "absent.bin"}, "absent.bin does not exist"),
    "truncated tokenizer": (GENERATE, {"--tokenizer": "tokenizer_cut.bin"}, "is truncated"),
    "tokenizer of another model": (GENERATE, {"--tokenizer": "tokenizer_small.bin"},
                                   "has 20 tokens, the model has 23"),
    "folder as tokenizer": (GENERATE, {"--tokenizer": "wordless"}, "is a folder without"),
    "empty prompt": (GENERATE, {"--prompt": ""}, "the prompt is empty"),
    "blank prompt": (GENERATE, {"--prompt": "  "}, "the prompt is empty"),
    "prompt longer than the context": (GENERATE, {"--prompt": "abcdef" * 10},
                                       "has 62 tokens, the context of this image holds 32"),
    "character without a token": (GENERATE, {"--prompt": "Zoë"}, "no token for"),
    "unknown device": (GENERATE, {"--device": "quantum"}, "there is no device 'quantum': use sim"),
    "device with a path": (GENERATE, {"--device": "golden:x"}, "there is no device 'golden:x'"),
    "serial at a strange rate": (GENERATE, {"--device": "serial:/dev/x@fast"}, "is no baud rate"),
    "serial without a board": (GENERATE, {"--device": "serial:/dev/x"}, "no serial port /dev/x"),
    "serial without a port": (GENERATE, {"--device": "serial:"}, "serial needs a port"),
    "unknown configuration": (GENERATE, {"--config": "big"}, "no configuration 'big'"),
    "unknown weights": (GENERATE, {"--weights": "heavy"}, "'heavy' is not one of"),
    "unknown schedule": (GENERATE, {"--schedule": "late"}, "'late' is not one of"),
    "no tokens": (GENERATE, {"--max-new-tokens": "0"}, "--max-new-tokens is 0"),
    "negative tokens": (GENERATE, {"--max-new-tokens": "-3"}, "--max-new-tokens is -3"),
    "tokens that are no number": (GENERATE, {"--max-new-tokens": "ten"}, "--max-new-tokens"),
    "negative temperature": (GENERATE, {"--temperature": "-1"}, "temperature is -1"),
    "infinite temperature": (GENERATE, {"--temperature": "inf"}, "temperature is inf"),
    "no temperature for top-k": (GENERATE, {"--top-k": "4"}, "needs --temperature"),
    "top-p too large": (GENERATE, {"--temperature": "1", "--top-p": "2"}, "top-p is 2"),
    "negative top-k": (GENERATE, {"--temperature": "1", "--top-k": "-1"}, "top-k is -1"),
    "negative seed": (GENERATE, {"--temperature": "1", "--seed": "-1"}, "seed is -1"),
    "clock of zero": (GENERATE, {"--clock-mhz": "0"}, "--clock-mhz is 0"),
    "waves of the golden device": (GENERATE, {"--waves": "x.vcd"}, "only the simulated device"),
    "waves into no folder": (GENERATE, {"--device": "sim", "--waves": "no/x.vcd"},
                             "its folder does not exist"),
    "unknown option": (GENERATE, {"--speed": "9"}, "No such option"),
    "eval of an image": (EVAL, {"--model": "resident.image"}, "give the checkpoint"),
    "eval of a missing text": (EVAL, {"--text": "absent.txt"}, "absent.txt does not exist"),
    "eval of a folder": (EVAL, {"--text": "."}, "is a folder"),
    "eval of Latin-1": (EVAL, {"--text": "latin.txt"}, "is no UTF-8 text (byte 3)"),
    "eval of a blank text": (EVAL, {"--text": "blank.txt"}, "is empty"),
    "compile of an image": (COMPILE, {"--model": "resident.image"}, "is an image already"),
    "compile for no configuration": (COMPILE, {"--config": "big"}, "no configuration 'big'"),
    "compile without out": (COMPILE, {"--out": None}, "--out"),
    "info of nothing": ("info", {"": "nothing"}, "neither a file nor a configuration"),
    "info of a folder": ("info", {"": "."}, "is a folder"),
    "info of a foreign file": ("info", {"": "foreign.bin"}, "not look like a llama2.c"),
    "info of a wrong image": ("info", {"": "version.image"}, "made for contract 77"),
    "info of two things": ("info", {"": "tiny", " ": "small"}, "unexpected extra argument"),
    "unknown command": ("frobnicate", {}, "No such command"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_one_line_and_code_2(case, run, folder, tmp_path, monkeypatch, fake_golden):
    spoil(folder, tmp_path)
    monkeypatch.chdir(tmp_path)
    base, changes, message = CASES[case]
    if isinstance(base, str):
        arguments = [base, *(part for pair in changes.items() for part in pair if part.strip())]
    else:
        name = "eval" if base is EVAL else "compile" if base is COMPILE else "generate"
        options = {key: value for key, value in (base | changes).items() if value is not None}
        arguments = [name, *(part for pair in options.items() for part in pair)]
    result = run(*arguments)
    assert result.status == 2
    assert result.out == ""
    lines = result.err.splitlines()
    assert len(lines) == 1, result.err
    assert lines[0].startswith("spikelet: ") and message in lines[0]
    assert not fake_golden


REAL = {"--model": "model.bin", "--config": "tiny"}  # checkpoints: compiled before they can fail


@pytest.mark.parametrize("changes, message", [
    ({"--prompt": "abcdef" * 10}, "the context of this image holds 32"),
    ({"--tokenizer": "tokenizer_small.bin"}, "has 20 tokens, the model has 23"),
    ({"--config": "big"}, "no configuration 'big'"),
])  # fmt: skip
def test_one_line_with_a_checkpoint(changes, message, run, folder, tmp_path, monkeypatch):
    spoil(folder, tmp_path)
    monkeypatch.chdir(tmp_path)
    options = GENERATE | REAL | changes
    result = run("generate", *(part for pair in options.items() for part in pair))
    assert (result.status, result.out) == (2, "")
    assert len(result.err.splitlines()) == 1 and message in result.err


@pytest.mark.parametrize("command", [
    ("generate",), ("eval", "--text", "text.txt"), ("compile", "--out", "new.image"),
], ids=lambda command: command[0])  # fmt: skip
def test_no_model_ships(command, run, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("host.cli.sources.SHIPPED_MODEL", tmp_path / "stories")
    result = run(*command)
    assert (result.status, result.out) == (2, "")
    assert len(result.err.splitlines()) == 1
    assert "has no model of its own" in result.err and "give --model" in result.err


def test_no_compiler(run, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("SPIKELET_CACHE", str(tmp_path))
    monkeypatch.setenv("CXX", "")
    monkeypatch.setenv("PATH", str(tmp_path))
    result = run("generate", "--model", folder / "resident.image", "--tokenizer",
                 folder / "tokenizer.bin", "--prompt", "bad", "--device", "sim")
    assert (result.status, result.out) == (2, "")
    assert len(result.err.splitlines()) == 1 and "no C++ compiler found" in result.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
@pytest.mark.parametrize("option", ["--model", "--tokenizer"])
def test_unreadable_files(run, folder, tmp_path, option):
    locked = tmp_path / "locked.bin"
    locked.write_bytes((folder / "model.bin").read_bytes())
    locked.chmod(0)
    options = {"--model": folder / "resident.image", "--tokenizer": folder / "tokenizer.bin"}
    options[option] = locked
    result = run("generate", *(part for pair in options.items() for part in pair), "--prompt", "a",
                 "--device", "golden")
    assert result.status == 2 and "cannot be read" in result.err


def test_a_name_that_no_file_system_takes(run, folder):
    result = run("info", "x" * 5000)
    assert result.status == 2 and len(result.err.splitlines()) == 1


def test_interrupted(run, folder, fake_golden, monkeypatch):
    def interrupt(self, count):
        raise KeyboardInterrupt

    monkeypatch.setattr(fake.FakeDevice, "receive", interrupt)
    result = run("generate", "--model", folder / "resident.image", "--tokenizer",
                 folder / "tokenizer.bin", "--prompt", "bad", "--device", "golden")
    assert result.status == cli.INTERRUPTED == 130
    assert result.err.splitlines()[-1] == "spikelet: interrupted"
