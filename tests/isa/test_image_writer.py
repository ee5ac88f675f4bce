"""Writing an image array by array: the same file, whole or not at all; reading it by memory map."""

import errno
import os
import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from isa import image as module
from isa.errors import SpikeletError
from isa.image import HEADER, Image, ImageWriter, Section, Stream, blank, load_image
from tests.isa.test_image import assert_same, make_image
from tests.seeds import generator

OLD = b"what was there before"


def outline(image: Image) -> Image:
    """The same image with blank arrays."""
    stream = image.stream
    parts = ([(space, blank(words.size)) for space, words in part]
             for part in (stream.body, stream.head))
    return Image(image.configuration, image.identity, image.model, image.settings,
                 [Section(s.space, s.address, blank(s.words.size)) for s in image.sections],
                 Stream(blank(*stream.embedding.shape), *parts))


def test_arrays_in_any_order_and_in_parts(tmp_path):
    image, random = make_image(), generator("order")
    image.save(tmp_path / "saved.image")
    pieces = []
    for index, words in enumerate(image.arrays()):
        cut = random.randint(0, words.size)
        flat = words.reshape(-1)
        pieces += [(index, flat[:cut], 0), (index, flat[cut:], cut)]
    random.shuffle(pieces)
    with ImageWriter(tmp_path / "written.image", outline(image)) as writer:
        for piece in pieces:
            writer.put(*piece)
        assert not (tmp_path / "written.image").exists()
        writer.close(image)
    written = (tmp_path / "written.image").read_bytes()
    assert written == (tmp_path / "saved.image").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["saved.image", "written.image"]
    assert_same(image, load_image(tmp_path / "written.image"))


def test_blank_arrays_take_no_memory():
    words = blank(1 << 20, 1 << 20)
    assert words.shape == (1 << 20, 1 << 20) and words.strides == (0, 0) and not words[5, 7]


@contextmanager
def unharmed(tmp_path) -> Iterator:
    """A path with an old file, which must be as it was, alone in its folder."""
    path = tmp_path / "model.image"
    path.write_bytes(OLD)
    yield path
    assert path.read_bytes() == OLD
    assert os.listdir(tmp_path) == ["model.image"]


def test_an_image_with_gaps_or_too_much_is_refused(tmp_path):
    image = make_image()
    arrays = image.arrays()
    with unharmed(tmp_path) as path, ImageWriter(path, outline(image)) as writer:
        writer.put(0, arrays[0])
        with pytest.raises(ValueError, match="gaps"):
            writer.close(image)
        with pytest.raises(ValueError, match="array 1 has 8 words"):
            writer.put(1, arrays[1], 1)


def test_an_interruption_leaves_the_old_image(tmp_path):
    image = make_image()
    with unharmed(tmp_path) as path:
        with pytest.raises(KeyboardInterrupt):
            with ImageWriter(path, outline(image)) as writer:
                writer.put(0, image.arrays()[0])
                raise KeyboardInterrupt


@pytest.mark.parametrize("owner, name", [(os, "fsync"), (os, "replace"), (tempfile, "mkstemp"),
                                         (module, "_checksum")])
def test_a_disk_that_fills(tmp_path, monkeypatch, owner, name):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with unharmed(tmp_path) as path, monkeypatch.context() as patch:
        patch.setattr(owner, name, full)
        with pytest.raises(SpikeletError, match="cannot write the image .*: No space left on"):
            make_image().save(path)


def test_a_file_that_may_not_grow(tmp_path):
    """The operating system itself stops a write in the middle of an array."""
    image = make_image(model={"vocab": 7, "filler": "x" * 5000})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with unharmed(tmp_path) as path:
        resource.setrlimit(resource.RLIMIT_FSIZE, (5100, hard))
        try:
            with pytest.raises(SpikeletError, match="cannot write the image .*: File too large"):
                image.save(path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_folders_that_cannot_take_an_image(tmp_path, monkeypatch):
    with pytest.raises(SpikeletError, match="it is a folder; give a file name"):
        module.check_writable(tmp_path)
    with pytest.raises(SpikeletError, match="its folder does not exist"):
        module.check_writable(tmp_path / "none" / "model.image")
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(SpikeletError, match="its folder may not be written"):
        module.check_writable(tmp_path / "model.image")
    monkeypatch.undo()
    module.check_writable(tmp_path / "model.image")


def mapped(words: np.ndarray) -> bool:
    while isinstance(words, np.ndarray):
        if isinstance(words, np.memmap):
            return True
        words = words.base
    return False


def test_loading_maps_the_data(tmp_path):
    path = tmp_path / "model.image"
    image = make_image()
    image.save(path)
    loaded = load_image(path)
    arrays = loaded.arrays()
    assert all(mapped(words) for words in arrays if words.size)
    assert not any(words.flags.writeable for words in arrays)
    assert path.stat().st_size - 4 * sum(words.size for words in arrays) - HEADER.size > 0
    assert (path.stat().st_size - 4 * sum(words.size for words in arrays)) % 64 == 0
    make_image(streamed=False).save(path)  # the mapped file lives on
    assert_same(image, loaded)


def test_the_checksum_is_read_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_BYTES", 7)
    image = make_image()
    image.save(tmp_path / "model.image")
    assert_same(image, load_image(tmp_path / "model.image"))


def test_an_image_without_data(tmp_path):
    image = make_image(streamed=False, sections=[])
    image.save(tmp_path / "model.image")
    assert load_image(tmp_path / "model.image").sections == []
