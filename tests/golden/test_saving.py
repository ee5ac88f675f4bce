"""Saves that fail: one line, and the checkpoint that was there before is whole."""

import errno
import os
import resource

import pytest

from golden.checkpoints import atomic, safetensors_file
from golden.checkpoints.checkpoint import load_checkpoint, random_checkpoint, save_checkpoint
from isa.errors import SpikeletError
from tests.golden.models import ODD, TINY
from tests.seeds import seed


def full(*arguments, **options):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def save_fails(folder) -> str:
    """A save that fails: its message; the folder is as it was."""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(SpikeletError) as caught:
        save_checkpoint(random_checkpoint(ODD, seed()), folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    text = str(caught.value)
    assert "\n" not in text and "cannot save" in text and str(folder) in text
    return text


@pytest.mark.parametrize("module, name", [(safetensors_file, "write"), (os, "fsync"),
                                          (atomic.tempfile, "mkstemp")])
def test_a_disk_that_fills(tmp_path, monkeypatch, module, name):
    save_checkpoint(random_checkpoint(TINY, seed()), tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(module, name, full)
        assert "No space left on device" in save_fails(tmp_path)
    assert load_checkpoint(tmp_path).config == TINY


def test_a_disk_that_fills_at_the_second_file(tmp_path, monkeypatch):
    save_checkpoint(random_checkpoint(TINY, seed()), tmp_path)
    calls, really = [], os.fsync

    def fsync(handle):
        calls.append(handle)
        if len(calls) == 2:
            full()
        really(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    assert "No space left on device" in save_fails(tmp_path)


def test_a_file_that_may_not_grow(tmp_path):
    """The operating system itself stops the write in the middle of the weights."""
    save_checkpoint(random_checkpoint(TINY, seed()), tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # ODD needs 150,000 bytes
    try:
        assert "File too large" in save_fails(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_nowhere_to_save(tmp_path):
    (tmp_path / "file").write_text("kept")
    checkpoint = random_checkpoint(TINY, seed())
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(SpikeletError, match="cannot save the checkpoint"):
            save_checkpoint(checkpoint, folder)
    with pytest.raises(SpikeletError, match="tokenizer .* cannot be read: No such file"):
        save_checkpoint(checkpoint, tmp_path / "new", tmp_path / "tokenizer.json")
    assert (tmp_path / "file").read_text() == "kept" and not (tmp_path / "new").exists()
