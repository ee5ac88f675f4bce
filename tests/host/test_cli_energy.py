"""spikelet energy on small files."""

import json
import re

import pytest
import torch

from golden.checkpoints.checkpoint import Checkpoint, random_checkpoint, save_checkpoint
from golden.evaluation.energy import Census, costs
from golden.quantisation.quantise import quantise
from golden.spiking_model.model import SpikingModel
from host.cli import energy
from isa.schedule import EXACT_THRESHOLDS, Population
from tests.host.files import SHAPE
from tests.seeds import seed


@pytest.fixture
def arguments(folder):
    return ("energy", "--model", folder / "model.bin", "--tokenizer", folder / "tokenizer.bin",
            "--text", folder / "text.txt")


def numbers(out: str, label: str) -> list[float]:
    """The figures of the first line that begins with a label."""
    figures = re.search(rf"^ *{label}((?: +[\d.,]+)+)$", out, re.MULTILINE)[1]
    return [float(n) for n in figures.replace(",", "").split()]


def test_report(run, arguments, tmp_path):
    result = run(*arguments, "--json", tmp_path / "energy.json", "--config", "tiny")
    assert result.status == 0, result.err
    assert "counting: document 1/2" in result.err
    content = json.loads((tmp_path / "energy.json").read_text())
    names = [c["name"] for c in content["costs_a_token"]]
    assert names == ["int8 MAC", "unary", "signed"]      # no trained thresholds in this file
    accumulates = [c["accumulates"] for c in content["costs_a_token"]]
    assert numbers(result.out, "accumulates") == [round(n) for n in accumulates]
    spikes = [sum(f["by"][s]["spikes"] for f in content["fired"].values())
              for s in ("unary", "signed")]
    positions = sum(content["documents"])
    assert numbers(result.out, "spikes") == [0, *(round(n / positions) for n in spikes)]
    shown = re.findall(r"total.*nJ +(.*)\n *against int8 +(.*)\n", result.out)
    for (total, ratio), name in zip(shown, ("bytes_held", "bytes_built"), strict=True):
        nano = [c["synapses"] + c["neurons"] + c["other"] + c[name] * 1.25 / 1000
                for c in content["costs_a_token"]]
        assert total.split() == [f"{n:,.1f}" for n in nano]
        assert ratio.split() == [f"{n / nano[0]:.2f}" for n in nano]
    assert "below 3.0 spikes a neuron" in result.out and "Horowitz" in result.out


def test_means_of_the_projections(run, arguments):
    out = run(*arguments).out
    each = [[float(n) for n in re.search(rf"{label} +[\d,]+ +([\d.]+) +([\d.]+)", out).groups()]
            for label in ("query, key, value", "attention out", "gate, up", "down", "head")]
    mean = numbers(out, "mean of these five")
    for column in (0, 1):
        assert sum(row[column] for row in each) / 5 == pytest.approx(mean[column], abs=0.011)


def test_trained_thresholds_have_a_column():
    """A model whose down neurons never fire for a code of 1."""
    checkpoint = random_checkpoint(SHAPE, seed())
    model = SpikingModel(quantise(checkpoint))
    raised = (*EXACT_THRESHOLDS[:-1], 2)
    model.watch = census = Census({Population.down: raised}, 16)
    model(torch.arange(12) % SHAPE.vocab)
    table = costs(model, census, [12])
    assert energy.cost_rows(table)[0] == ["", "int8 MAC", "unary", "signed", "trained"]
    rows = {row[0]: row for row in energy.spike_rows(census)}
    assert rows["head"][3] == rows["head"][4] and float(rows["down"][3]) > float(rows["down"][4])
    trained = next(line for line in energy.verdict(table, census, 12, 1000) if "trained" in line)
    operations = census.total("trained").operations / sum(f.weights for f in census.fired.values())
    assert trained.startswith(f"trained: {operations:.2f} additions a weight.")


def test_a_checkpoint_with_trained_thresholds(run, folder, tmp_path):
    raised = {Population.qkv: (*EXACT_THRESHOLDS[:-1], 2)}
    checkpoint = random_checkpoint(SHAPE, seed())
    save_checkpoint(Checkpoint(SHAPE, checkpoint.weights, raised), tmp_path / "model")
    result = run("energy", "--model", tmp_path / "model", "--tokenizer", folder / "tokenizer.bin",
                 "--text", folder / "text.txt")
    assert result.status == 0, result.err
    base, unary, signed, trained = numbers(result.out, "accumulates")
    assert trained < signed < unary and base > 0
    assert "- trained: " in result.out


def test_an_image_is_refused(run, arguments, folder):
    result = run(*arguments[:2], folder / "resident.image", *arguments[3:])
    assert result.status == 2 and "is an image" in result.err


def test_figures_that_cannot_be_written(run, arguments, tmp_path):
    result = run(*arguments, "--json", tmp_path)
    assert result.status == 2 and "cannot be written" in result.err
    assert len(result.err.strip().splitlines()[-1]) < 200


def test_an_unknown_configuration(run, arguments):
    result = run(*arguments, "--config", "none")
    assert result.status == 2 and "none" in result.err
