"""Where the optional reference files are: `../shared` beside the checkout, or SPIKELET_SHARED."""

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("SPIKELET_SHARED", Path(__file__).resolve().parents[2] / "shared"))


def shared_file(name: str) -> Path:
    """The path of a reference file; skips the test, with the reason, where it is absent."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{name} is not in {SHARED} (set SPIKELET_SHARED to the folder that holds it)")
    return path
