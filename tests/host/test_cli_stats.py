"""spikelet stats: a table of what the device counted, its last state where there is no terminal."""

import re

from host.cli import terminal
from host.cli.stats import counter_rows
from isa.registers import COUNTERS


def stats(run, folder, *options):
    return run("stats", "--model", folder / "resident.image", "--tokenizer",
               folder / "tokenizer.bin", "--prompt", "a cab", "--device", "golden", *options)


def test_the_last_state_is_printed(run, folder, fake_golden):
    result = stats(run, folder, "--max-new-tokens", 5)
    assert result.status == 0, result.err
    (prompt, count, _), = fake_golden[0].runs
    positions = len(prompt) + count - 1
    assert result.out.startswith("tiny on golden\ncounter")
    assert re.search(rf"^tokens +{positions} +positions +[\d,]+ +1\.0$", result.out, re.MULTILINE)
    assert re.search(rf"^cycles +{100 * positions:,} +cycles +[\d,]+ +100\.0$", result.out,
                     re.MULTILINE)
    for register in COUNTERS:
        assert re.search(rf"^{register.name.replace('_', ' ')} ", result.out, re.MULTILINE)


def test_it_changes_in_its_place_on_a_terminal(run, folder, fake_golden, monkeypatch):
    """Every look at the counters is shown."""
    shown = []
    monkeypatch.setattr("host.driver.WATCH_SECONDS", 0.0)
    monkeypatch.setattr(terminal.LiveGrid, "show", lambda grid, rows: shown.append(rows))
    assert stats(run, folder, "--max-new-tokens", 5).status == 0
    tokens = [int(row[1]) for rows in shown for row in rows if row[0] == "tokens"]
    assert len(tokens) > 3 and tokens == sorted(tokens) and len(set(tokens)) > 2


def test_rates_follow_from_counts_time_and_clock():
    counters = {r.name: 0 for r in COUNTERS} | {
        "cycles": 20_000, "tokens": 10, "neurons": 400, "spikes": 900, "gather_cycles": 15_000}
    rows = {row[0]: row[1:] for row in counter_rows(counters, 2.0, 80_000_000)}
    assert rows["cycles"] == ["20,000", "cycles", "10,000", "2,000.0"]
    assert rows["tokens"] == ["10", "positions", "5", "1.0"]
    assert rows["spikes a neuron"][0] == "2.25"
    assert rows["gathering"][0] == "75% of the cycles"
    assert rows["busy"][0] == "0.25 ms at 80 MHz"
    assert rows["positions a second while busy"][0] == "40,000"
    idle = {row[0]: row[1:] for row in counter_rows({r.name: 0 for r in COUNTERS}, 0.0, None)}
    assert idle["cycles"] == ["0", "cycles", "-", "0.0"] and "busy" not in idle


def test_mistakes(run, folder):
    for options, message in ((("--idle",), "--idle reads a board: use --device serial:PATH"),
                             (("--prompt", " "), "the prompt is empty"),
                             (("--max-new-tokens", 0), "0 new tokens: ask for at least 1")):
        result = stats(run, folder, *options)
        assert (result.status, result.out, len(result.err.splitlines())) == (2, "", 1)
        assert message in result.err
