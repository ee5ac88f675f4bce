"""spikelet info and eval on small files."""

import dataclasses
import math
import re

import pytest
from safetensors.numpy import load_file, save_file

from golden.checkpoints.checkpoint import random_checkpoint, save_checkpoint
from isa.configurations import CONFIGURATIONS
from isa.schedule import Population
from tests.golden.models import ODD
from tests.seeds import seed


def test_configurations_are_listed(run):
    result = run("info")
    assert result.status == 0
    assert [line.split()[0] for line in result.out.splitlines()] == [*CONFIGURATIONS, "stories"]


def test_configurations_are_listed_where_no_model_ships(run, monkeypatch, tmp_path):
    monkeypatch.setattr("host.cli.sources.SHIPPED_MODEL", tmp_path / "stories")
    lines = run("info").out.splitlines()
    assert [line.split()[0] for line in lines] == list(CONFIGURATIONS)
    result = run("info", "stories")
    assert result.status == 2 and "neither a file nor a configuration" in result.err


def test_configuration(run):
    out = run("info", "ulx3s").out
    assert re.search(r"cores +4\n", out) and re.search(r"lanes +64\n", out)
    assert f"{CONFIGURATIONS['ulx3s'].identity:08x}" in out


def test_checkpoint(run, folder):
    out = run("info", folder / "model.bin").out
    # embedding, norms, attention, mlp; the head is the embedding
    size = 23 * 16 + 16 + 2 * (2 * 16 + 16 * 16 * 2 + 16 * 8 * 2 + 3 * 16 * 24)
    assert re.search(rf"parameters +{size:,}\n", out)
    assert re.search(r"heads +4 query, 2 key/value, size 4\n", out)
    assert re.search(r"vocabulary +23 tokens, head tied\n", out)


def test_folder(run, folder, tmp_path):
    from_file = run("info", folder / "model.bin").out.splitlines()[1:]
    assert run("info", "stories").out.splitlines()[1:] == from_file
    checkpoint = random_checkpoint(ODD, seed())
    thresholds = {Population.down: (90, 50, 25, 12, 6, 3, 2, 1)}
    save_checkpoint(dataclasses.replace(checkpoint, thresholds=thresholds), tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    save_file(tensors | {"extra": tensors["model.norm.weight"]}, tmp_path / "model.safetensors")
    out = run("info", tmp_path).out
    assert re.search(r"vocabulary +91 tokens, head not tied\n", out)
    assert re.search(r"biases +in q, k and v\n", out)
    assert re.search(r"thresholds of down +90, 50, 25, 12, 6, 3, 2, 1\n", out)
    assert re.search(r"tensors without use +extra\n", out)


def test_image(run, folder):
    out = run("info", folder / "streamed.image").out
    assert re.search(r"configuration +tiny \(", out)
    assert re.search(r"loaded +40,008 words: program 40,000, schedule 8\n", out)
    assert re.search(r"streamed a token +18 words\n", out)
    assert re.search(r"end token +none\n", out)


def test_eval(run, folder):
    result = run("eval", "--model", folder / "model.bin", "--tokenizer", folder / "tokenizer.bin",
                 "--text", folder / "text.txt")
    assert result.status == 0, result.err
    float_value = float(re.search(r"perplexity, float +([\d.]+)", result.out)[1])
    spiking, ratio = re.search(r"perplexity, spiking +([\d.]+) \(([-+.\d]+)%", result.out).groups()
    assert abs((float(spiking) / float_value - 1) * 100 - float(ratio)) < 0.01
    assert abs(float(ratio)) < 10  # a random model on 36 tokens: the same order, not a bound
    for kind, perplexity in (("float", float_value), ("spiking", float(spiking))):
        bits = float(re.search(rf"bits per character, {kind} +([\d.]+)", result.out)[1])
        # A token for each character, and one for the space before each document.
        characters = len("a cab called a deaf") + len("feed me  a bad egg")
        expected = math.log2(perplexity) * (characters + 2) / characters
        assert bits == pytest.approx(expected, rel=1e-3)
    assert "2 documents" in result.out and "spiking: document 1/2" in result.err


def test_eval_of_the_model_that_ships(run, folder):
    named = run("eval", "--model", folder / "model.bin", "--tokenizer", folder / "tokenizer.bin",
                "--text", folder / "text.txt")
    result = run("eval", "--text", folder / "text.txt")
    assert result.status == 0, result.err
    assert result.out.splitlines()[:-1] == named.out.splitlines()[:-1]      # but for the time
