"""Commands for boards, on a virtual one: board-sim, generate, eval, devices, selftest, stats."""

import re
import signal
import subprocess
import time

import pytest

from host.transport.serial import SerialTransport
from isa.errors import SpikeletError
from tests.host.test_cli_devices import generate, value
from tests.host.test_cli_process import COMMAND, ENVIRONMENT
from tests.system.boards import CLOCK_HZ, PATIENCE, virtual_board


@pytest.fixture(scope="module")
def port():
    with virtual_board() as board:
        yield board.path


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """A busy machine simulates slowly: more patience than a board needs."""
    slow = {"patience": PATIENCE, "answer_seconds": 600.0}
    usual = SerialTransport.__init__.__kwdefaults__
    monkeypatch.setattr(SerialTransport.__init__, "__kwdefaults__", usual | slow)


def test_generate_gives_the_golden_text(run, folder, port):
    """The configuration is the board's, the speed that of its clock."""
    options = ("--temperature", 1.5, "--top-k", 12, "--seed", 3, "--max-new-tokens", 4)
    golden, golden_table = generate(run, folder, "--config", "tiny", "--device", "golden", *options)
    text, table = generate(run, folder, "--device", f"serial:{port}", *options)
    assert text == golden
    assert value(table, "synaptic operations a token") == value(golden_table,
                                                                "synaptic operations a token")
    assert f"tokens a second at {CLOCK_HZ / 1e6:g} MHz" in table
    assert value(table, "cycles a token") > 100


def test_eval_on_the_board(run, folder, port, tmp_path):
    """The same perplexity as the integer model's."""
    (tmp_path / "short.txt").write_text("a bad cab")
    result = run("eval", "--text", tmp_path / "short.txt", "--model", folder / "model.bin",
                 "--tokenizer", folder / "tokenizer.bin", "--device", f"serial:{port}")
    assert result.status == 0, result.err
    assert value(result.out, "perplexity, device") == value(result.out, "perplexity, spiking")


def test_devices(run, port, tmp_path):
    result = run("devices", port, tmp_path / "nothing", "--seconds", PATIENCE)
    assert result.status == 0
    words = " ".join(result.out.split())
    assert re.search(r"named Spikelet, configuration tiny, contract \d+, no model in it, 25 MHz",
                     words), result.out
    assert port in words and "there is no serial port" in words


@pytest.mark.extra  # half a minute of a simulated line
def test_selftest_passes(run, port):
    result = run("selftest", "--device", f"serial:{port}", "--quick", "--max-new-tokens", 3)
    assert (result.status, result.out.splitlines()[-1]) == (0, "pass"), result.out + result.err
    assert "DIFFERS" not in result.out and "generation, stories" in result.out


def test_stats(run, folder, port):
    result = run("stats", "--device", f"serial:{port}", "--model", folder / "model.bin",
                 "--tokenizer", folder / "tokenizer.bin", "--prompt", "bad", "--max-new-tokens", 4)
    assert result.status == 0, result.err
    assert re.search(r"^counter +count +a second +a position", result.out, re.MULTILINE)
    assert re.search(r"^cycles +[\d,]+ +cycles +[\d,]+ +[\d,.]+", result.out, re.MULTILINE)
    assert re.search(r"^tokens +[1-9]\d* +positions", result.out, re.MULTILINE)
    assert "positions a second while busy" in result.out


def test_stats_of_an_idle_board(run, port):
    result = run("stats", "--device", f"serial:{port}", "--idle")
    assert result.status == 0, result.err
    assert re.search(r"^synaptic operations +0 +additions", result.out, re.MULTILINE)
    with SerialTransport(port):
        busy = run("stats", "--device", f"serial:{port}", "--idle")
    assert (busy.status, len(busy.err.splitlines())) == (2, 1)
    assert "in use by another program" in busy.err


def test_board_sim_as_a_process(tmp_path):
    """Its path, its power, its cable, its end."""
    name = tmp_path / "board"
    process = subprocess.Popen(
        [*COMMAND, "board-sim", "--board", "ulx3s_85f", "--config", "tiny", "--clock-mhz", "25",
         "--link", name, "--drop", "1e-3"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT, text=True,
    )  # fmt: skip
    try:
        assert process.stdout.readline() == f"{name}\n"
        with SerialTransport(str(name), patience=PATIENCE) as transport:
            assert transport.welcome.clock_hz == CLOCK_HZ
            process.send_signal(signal.SIGUSR2)
            with pytest.raises(SpikeletError, match="the serial port is gone"):
                transport.receive(1)
        end = time.monotonic() + PATIENCE
        while not name.is_symlink():  # the cable is out for a moment
            assert time.monotonic() < end
            time.sleep(0.01)
        with SerialTransport(str(name), patience=PATIENCE) as transport:
            process.send_signal(signal.SIGUSR1)
            with pytest.raises(SpikeletError, match="was reset"):
                transport.receive(1)
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=120)
    finally:
        process.kill()
    assert (process.returncode, out) == (0, ""), error
    last = error.splitlines()[-1]
    assert re.match(r"[\d,]+ cycles in [\d.]+ s: [\d.]+ million a second, 1/[\d,]+ of the board's "
                    r"speed; [\d,]+ bytes to the board, [\d,]+ to the host", last), error
    assert not name.is_symlink()
