"""The command line with real devices: a small model is compiled and generates text."""

import re

import pytest

from tests.host.files import PIECES
from tests.shared import shared_file

SAMPLED = ("--temperature", 1.5, "--top-k", 12, "--seed", 3, "--max-new-tokens", 12)


def generate(run, folder, *options, model="model.bin", prompt="bad cab"):
    result = run("generate", "--model", folder / model, "--tokenizer", folder / "tokenizer.bin",
                 "--prompt", prompt, *options)
    assert result.status == 0, result.err
    return result.out.split("\n\n")[0], result.out.split("\n\n")[1]


def value(table: str, name: str) -> float:
    return float(re.search(rf"^{name} +([\d.,]+)", table, re.MULTILINE)[1].replace(",", ""))


@pytest.mark.parametrize("options", [("--max-new-tokens", 8), SAMPLED], ids=["greedy", "sampled"])
def test_golden_resident_is_streamed(run, folder, options):
    golden = ("--device", "golden", "--config", "tiny", *options)
    text, table = generate(run, folder, *golden)
    streamed, streamed_table = generate(run, folder, *golden, "--weights", "streamed")
    assert streamed == text and text.startswith("bad cab") and len(text) > len("bad cab")
    for row in ("spikes a neuron", "synaptic operations a token", "saturations"):
        assert value(table, row) == value(streamed_table, row)
    assert value(table, "spikes a neuron") > 0


def test_both_schedules_give_the_same_text(run, folder):
    options = ("--device", "golden", "--config", "tiny", *SAMPLED, "--max-new-tokens", 4)
    phase, phase_table = generate(run, folder, *options)
    unary, unary_table = generate(run, folder, *options, "--schedule", "unary")
    assert phase == unary
    assert value(unary_table, "spikes a neuron") > 2 * value(phase_table, "spikes a neuron")


def test_compiled_image_gives_the_same_text(run, folder, tmp_path):
    image = tmp_path / "model.image"
    result = run("compile", "--model", folder / "model.bin", "--config", "tiny", "--weights",
                 "streamed", "--tokenizer", folder / "tokenizer.bin", "--out", image)
    assert result.status == 0 and "context 32" in result.out
    from_image, _ = generate(run, folder, "--device", "golden", *SAMPLED, model=image)
    from_checkpoint, _ = generate(run, folder, "--device", "golden", "--config", "tiny", *SAMPLED)
    assert from_image == from_checkpoint
    about = run("info", image).out
    assert re.search(r"weights +streamed\n", about) and re.search(r"vocab +23\n", about)


def test_a_folder_is_the_same_model(run, folder, tmp_path):
    """The model that ships (here the small one as a folder), and its own tokenizer, by default."""
    options = ("--config", "tiny", "--out")
    assert run("compile", *options, tmp_path / "folder.image").status == 0
    assert run("compile", "--model", folder / "model.bin", *options, tmp_path / "file.image"
               ).status == 0
    assert (tmp_path / "folder.image").read_bytes() == (tmp_path / "file.image").read_bytes()
    result = run("generate", "--prompt", "bad cab", "--device", "golden", "--config", "tiny",
                 *SAMPLED)
    assert result.status == 0, result.err
    text, _ = generate(run, folder, "--device", "golden", "--config", "tiny", *SAMPLED)
    assert result.out.split("\n\n")[0] == text


@pytest.mark.parametrize("options", [
    ("--max-new-tokens", 10), (*SAMPLED, "--weights", "streamed"),
], ids=["greedy", "sampled, streamed"])  # fmt: skip
def test_simulated_device_gives_the_golden_text(run, folder, options):
    golden, golden_table = generate(run, folder, "--config", "tiny", "--device", "golden", *options)
    sim, sim_table = generate(run, folder, "--config", "tiny", "--device", "sim", *options)
    assert sim == golden
    for row in ("spikes a neuron", "synaptic operations a token", "saturations"):
        assert value(sim_table, row) == value(golden_table, row)
    cycles = value(sim_table, "cycles a token")
    assert cycles > 100
    assert value(sim_table, "tokens a second at 80 MHz") == pytest.approx(80e6 / cycles, rel=1e-3)


def test_a_model_that_does_not_fit(run, tmp_path):
    result = run("generate", "--model", shared_file("models/stories260K.bin"), "--tokenizer",
                 shared_file("models/tok512.bin"), "--prompt", "Once", "--config", "tiny",
                 "--device", "golden")
    assert (result.status, result.out) == (2, "")
    assert len(result.err.splitlines()) == 1
    assert re.match(r"spikelet: .*'tiny'.*ulx3s", result.err)


def test_stories(run):
    result = run("generate", "--model", shared_file("models/stories260K.bin"), "--tokenizer",
                 shared_file("models/tok512.bin"), "--prompt", "Once upon a time", "--device",
                 "golden", "--max-new-tokens", 12)
    assert result.status == 0, result.err
    assert result.out.startswith("Once upon a time, there was a little girl named ")


def test_the_tokenizer_of_another_model(run, folder):
    result = run("generate", "--model", shared_file("models/stories260K.bin"), "--tokenizer",
                 folder / "tokenizer.bin", "--prompt", "Once", "--device", "golden")
    assert result.status == 2
    assert f"has {len(PIECES)} tokens, the model has 512" in result.err
