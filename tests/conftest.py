"""Settings of the whole test run."""

import os
import random
import shlex
import signal

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch: threads must not spin
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before transformers: tests fetch nothing

from golden.device.device import GoldenDevice  # noqa: E402  (NumPy comes after the settings)

GoldenDevice.checked = True  # every access of every instruction, against isa/effects.py


def pytest_configure(config: pytest.Config) -> None:
    """SPIKELET_SEED=random becomes a fresh number, which child processes inherit.

    Ctrl-C works as on a terminal, also where a shell has started the tests in the background.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if os.environ.get("SPIKELET_SEED", "") == "random":
        os.environ["SPIKELET_SEED"] = str(random.SystemRandom().randrange(1 << 31))


def pytest_report_header(config: pytest.Config) -> str:
    return f"SPIKELET_SEED={os.environ.get('SPIKELET_SEED', '1')}"


def repeat_command(test: str) -> str:
    """The command that runs one test alone, with the seed of this run."""
    seed = os.environ.get("SPIKELET_SEED", "1")
    return f"SPIKELET_SEED={seed} ./test -n 0 -m '' {shlex.quote(test)}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says of every test that failed how it is repeated alone."""
    failed = [report.nodeid for kind in ("failed", "error")
              for report in terminalreporter.stats.get(kind, [])]
    if failed:
        terminalreporter.section("to repeat")
        for test in dict.fromkeys(failed):
            terminalreporter.write_line(repeat_command(test))
