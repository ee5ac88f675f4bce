"""The command line as a process of its own: exit codes, signals, pipes, what it imports."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "host.cli"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}


def spikelet(*arguments: object, **options) -> subprocess.CompletedProcess:
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True,
                          env=ENVIRONMENT, stdin=subprocess.DEVNULL, timeout=120, **options)


@pytest.mark.parametrize("command", ["", "generate", "compile", "eval", "energy", "info",
                                     "board-sim", "devices", "selftest", "stats"])
def test_help_has_an_example(command):
    result = spikelet(*([command] if command else []), "--help")
    assert result.returncode == 0 and result.stderr == ""
    assert "Example" in result.stdout and f"spikelet {command or 'generate'}" in result.stdout


def test_no_arguments_is_help():
    result = spikelet()
    assert result.returncode == 0 and "Usage: spikelet" in result.stdout


def test_help_is_light():
    check = ("import sys; from host.cli import main; main(['--help']); main(['info']); "
             "heavy = {'torch', 'amaranth', 'numpy', 'cocotb'} & set(sys.modules); "
             "sys.exit(f'imported {heavy}' if heavy else 0)")
    result = subprocess.run([sys.executable, "-c", check], env=ENVIRONMENT, capture_output=True,
                            text=True, timeout=120)
    assert result.returncode == 0, result.stderr


def test_exit_code_without_traceback(folder):
    result = spikelet("generate", "--model", folder / "absent.bin", "--tokenizer",
                      folder / "tokenizer.bin", "--prompt", "a")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (f"spikelet: checkpoint {folder / 'absent.bin'} does not exist: check "
                             "the path\n")


def test_closed_pipe():
    process = subprocess.Popen([*COMMAND, "info"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env=ENVIRONMENT, text=True)
    process.stdout.close()
    error = process.stderr.read()
    assert process.wait(timeout=120) == 2
    assert error == "spikelet: the output was closed before the end\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
def test_full_disk():
    with open("/dev/full", "w") as full:
        result = subprocess.run([*COMMAND, "info"], stdout=full, stderr=subprocess.PIPE, text=True,
                                env=ENVIRONMENT, timeout=120)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1 and "No space left" in result.stderr


def test_interrupt(folder, tmp_path):
    fifo = tmp_path / "text.fifo"
    os.mkfifo(fifo)
    process = subprocess.Popen(
        [*COMMAND, "eval", "--model", folder / "model.bin", "--tokenizer", folder / "tokenizer.bin",
         "--text", fifo],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT, text=True,
    )  # fmt: skip
    with open(fifo, "w"):  # opens when the process reads: it waits for text now
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=120)
    assert (process.returncode, out) == (130, "")
    assert error == "spikelet: interrupted\n"


def test_output_without_unicode(folder):
    environment = {**ENVIRONMENT, "PYTHONIOENCODING": "ascii"}
    odd = folder / "odd\u00ef.bin"
    odd.write_bytes((folder / "model.bin").read_bytes())
    result = subprocess.run([*COMMAND, "info", odd], env=environment, capture_output=True,
                            timeout=120)
    assert result.returncode == 0, result.stderr
    assert b"odd?.bin" in result.stdout
