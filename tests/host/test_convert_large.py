"""Large checkpoints convert in little memory: `pytest -m slow tests/host/test_convert_large.py`."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from golden.checkpoints.config import ModelConfig
from isa.image import load_image
from tests.golden.large import HALF_BILLION, SCALED_DOWN, write_random_qwen2
from tests.seeds import seed

LIMIT = 4 << 20  # kilobytes of resident memory
PROGRAM = """
import resource, sys
from host import cli
status = cli.main(sys.argv[1:])
print("resident", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
sys.exit(status)
"""


def convert(folder: Path, config: ModelConfig) -> tuple[str, int]:
    """Converts a random checkpoint in a process of its own: (report, its most kilobytes)."""
    write_random_qwen2(folder / "model", config, seed())
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, "convert", folder / "model", folder / "model.image",
         "--config", "large", "--weights", "streamed", "--tokens", "256"],
        capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    print(result.stdout)
    image = load_image(folder / "model.image")
    assert (image.model["vocab"], image.model["layers"]) == (config.vocab, config.layers)
    assert image.context == 512
    before, after = (float(re.search(rf"perplexity, {name} +([\d.]+)", result.stdout)[1])
                     for name in ("float", "integers"))
    # A random model is surprised by text whatever its arithmetic; both must be alike.
    assert after == pytest.approx(before, rel=0.25)
    errors = re.findall(r"^\d+ +([\d.]+)% +([\d.]+)%$", result.stdout, re.MULTILINE)
    assert len(errors) == config.layers
    assert all(float(error) < 30 for both in errors for error in both)
    return result.stdout, int(re.search(r"resident (\d+)", result.stdout)[1])


@pytest.mark.slow
def test_a_scaled_down_model(tmp_path):
    _, kilobytes = convert(tmp_path, SCALED_DOWN)
    assert kilobytes < 1 << 20


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_half_a_billion_parameters_in_four_gigabytes(tmp_path):
    """Conversion, and then loading the image, of which only the checksum reads all."""
    _, kilobytes = convert(tmp_path, HALF_BILLION)
    assert kilobytes < LIMIT
    size = (tmp_path / "model.image").stat().st_size
    assert size > 1e9
    # getrusage would count what this process has, from which the other one was forked.
    program = ("import sys; from isa.image import load_image; image = load_image(sys.argv[1]); "
               "print(open('/proc/self/status').read())")
    loaded = subprocess.run([sys.executable, "-c", program, tmp_path / "model.image"],
                            capture_output=True, text=True, check=True)
    assert int(re.search(r"VmHWM:\s+(\d+) kB", loaded.stdout)[1]) < size / 1024 / 4
