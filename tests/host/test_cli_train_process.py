"""Ctrl-C in processes of their own: at once, one word, and nothing goes on behind it."""

import os
import signal
import subprocess
import time
from contextlib import suppress

import pytest

from tests.golden.test_training_sample import write_teacher
from tests.host.test_cli_process import COMMAND, ENVIRONMENT
from tests.host.train_files import QUANTISED, words, write_text


def press(command: list[str], file) -> tuple[int, str, float]:
    """Runs a command, presses Ctrl-C when a file appears: exit code, errors, seconds it took."""
    process = subprocess.Popen(command, env=ENVIRONMENT, text=True, start_new_session=True,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        while not file.exists() and process.poll() is None:
            time.sleep(0.02)
        pressed = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)       # as a terminal does: to workers too
        _, errors = process.communicate(timeout=100)    # workers have the stream too: all ended
        seconds = time.monotonic() - pressed
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, errors, seconds


@pytest.mark.parametrize("when", ["partial", "state"])
def test_sampling(tmp_path, when):
    """While the workers start, and while they write."""
    teacher = write_teacher(tmp_path / "teacher")
    status, errors, seconds = press(
        [*COMMAND, *words(("train", "sample", "--teacher", teacher, "--out", tmp_path / "tales.txt",
                           "--tokens", 10**9, "--workers", 2))], tmp_path / f"tales.txt.{when}")
    assert (status, errors) == (130, "spikelet: interrupted\n")
    assert seconds < 60
    assert (tmp_path / "tales.txt.partial").exists() and not (tmp_path / "tales.txt").exists()


def test_training(tmp_path):
    text = write_text(tmp_path / "text.txt")
    status, errors, _ = press(
        [*COMMAND, *words((*QUANTISED, "--steps", 10**6, "--text", text, "--out",
                           tmp_path / "new"))], tmp_path / "new" / "tokens.npy")
    assert status == 130 and errors.splitlines()[-1] == "spikelet: interrupted"
    assert "Traceback" not in errors
