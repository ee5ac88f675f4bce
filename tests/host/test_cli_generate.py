"""spikelet generate, with a scripted device in the golden device's place."""

import re

import pytest

from tests.host import fake
from tests.host.files import PIECES
from tests.host.test_driver import expected

PROMPT = "bad cab"
IDS = [1, *(PIECES.index(c) for c in " bad cab")]


def generate(run, folder, *options, image="resident.image", prompt=PROMPT):
    return run("generate", "--model", folder / image, "--tokenizer", folder / "tokenizer.bin",
               "--prompt", prompt, "--device", "golden", *options)


def text(ids: list[int]) -> str:
    return "".join("" if token in (1, 2) else PIECES[token] for token in ids)


@pytest.mark.parametrize("streamed", [False, True])
def test_text_and_summary(run, folder, fake_golden, streamed):
    fake_golden.streamed = streamed
    name = "streamed.image" if streamed else "resident.image"
    result = generate(run, folder, "--max-new-tokens", 12, "--clock-mhz", 50, image=name)
    assert result.status == 0, result.err
    assert result.out.startswith(PROMPT + text(expected(IDS, 12)) + "\n\n")
    table = result.out.split("\n\n")[1]
    positions = len(IDS) + 12 - 1
    assert re.search(rf"tokens +12 generated after a prompt of {len(IDS)}; {positions} "
                     "positions run", table)
    assert re.search(r"cycles a token +100\n", table)
    assert re.search(r"tokens a second at 50 MHz +500,000\n", table)
    for row in ("tokens a second of wall time", "spikes a neuron", "synaptic operations a token",
                "saturations"):
        assert re.search(rf"^{row} +[\d,.]+", table, re.MULTILINE)
    assert "weights streamed" in table if streamed else "weights resident" in table


def test_text_comes_token_by_token(run, folder, fake_golden, monkeypatch):
    written = []
    monkeypatch.setattr("host.cli.generate.emit", written.append)
    generate(run, folder, "--max-new-tokens", 5)
    assert written[:6] == [PROMPT, *(text([token]) for token in expected(IDS, 5))]


def test_context_full_is_told(run, folder, fake_golden):
    result = generate(run, folder, "--max-new-tokens", 100)
    assert result.status == 0
    room = 32 - len(IDS) + 1  # the last token is not run
    assert f"the context is full (32 positions): generation ended after {room} of 100" in result.err


def test_end_of_text_is_told(run, folder, fake_golden, tmp_path):
    tokens = expected(IDS, 8)
    fake.image(end_token=tokens[4]).save(tmp_path / "resident.image")
    (tmp_path / "tokenizer.bin").write_bytes((folder / "tokenizer.bin").read_bytes())
    result = generate(run, tmp_path, "--max-new-tokens", 8)
    assert f"ended the text after {tokens.index(tokens[4]) + 1} of 8 tokens" in result.err


def test_sampling_repeats_with_its_seed(run, folder, fake_golden):
    options = ("--temperature", 5, "--top-k", 9, "--top-p", 0.95, "--max-new-tokens", 20)
    a, b = (generate(run, folder, *options, "--seed", 7).out.split("\n\n")[0] for _ in range(2))
    others = {generate(run, folder, *options, "--seed", n).out.split("\n\n")[0] for n in range(5)}
    assert a == b and len(others | {a}) > 1
    assert all(run[1] == 1 for run in fake_golden[0].runs)


def test_a_seed_is_shown_when_none_was_given(run, folder, fake_golden):
    result = generate(run, folder, "--temperature", 1, "--max-new-tokens", 2)
    seed = re.search(r"seed +(\d+)", result.out)[1]
    again = generate(run, folder, "--temperature", 1, "--max-new-tokens", 2, "--seed", seed)
    assert again.out.split("\n\n")[0] == result.out.split("\n\n")[0]


def test_progress_goes_to_the_error_stream(run, folder, fake_golden):
    result = generate(run, folder, "--max-new-tokens", 2)
    assert "loading the model: 40,008 words" in result.err
    assert "loading" not in result.out


def test_simulation_gets_waves_and_shows_its_build(run, folder, tmp_path, monkeypatch):
    opened = []

    def open_simulation(configuration, waves, progress):
        opened.append((configuration.name, waves))
        for stage, fraction in (("verilate", 0.1), ("compile 1/2", 0.5), ("compile 2/2", 0.9)):
            progress(stage, fraction)
        return fake.FakeDevice()

    monkeypatch.setattr("host.transport.simulated.SimulatedTransport", open_simulation)
    result = generate(run, folder, "--device", "sim", "--waves", tmp_path / "x.vcd",
                      "--max-new-tokens", 3)
    assert result.status == 0, result.err
    assert opened == [("tiny", tmp_path / "x.vcd")]
    title = "building the simulator of 'tiny' (once)"
    assert result.err.splitlines()[:2] == [f"{title}: verilate", f"{title}: compile 1/2"]
    assert result.out.startswith(PROMPT + text(expected(IDS, 3)))
