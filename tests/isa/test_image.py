"""The image format: what is saved comes back, and every wrong file is one clear line."""

import os
import struct
import zlib

import numpy as np
import pytest

from isa.configurations import CONFIGURATIONS
from isa.errors import SpikeletError
from isa.image import HEADER, MAGIC, Image, Section, Stream, is_image, load_image
from isa.packets import Space
from isa.registers import CONTRACT_VERSION
from tests.seeds import seed

TINY = CONFIGURATIONS["tiny"]


def make_image(streamed: bool = True, **changes) -> Image:
    random = np.random.default_rng(seed())

    def words(*shape: int) -> np.ndarray:
        return random.integers(0, 1 << 32, shape, dtype=np.uint32)

    stream = Stream(
        embedding=words(7, 4),
        body=[(Space.ROW, words(12)), (Space.PARAMETER, words(3)), (Space.ROW, words(0))],
        head=[(Space.ROW, words(9))],
    )
    fields = dict(
        configuration=TINY.name,
        identity=TINY.identity,
        model={"dim": 16, "vocab": 7, "fraction": 12, "weights": "streamed", "schedule": "phase"},
        settings={"context": 32, "end_token": 2, "end_token_enable": 1, "epsilon_shift": -3},
        sections=[Section(Space.PROGRAM, 0, words(30)), Section(Space.SCHEDULE, 5, words(8))],
        stream=stream if streamed else None,
    )
    return Image(**(fields | changes))


def assert_same(a: Image, b: Image) -> None:
    for name in ("configuration", "identity", "model", "settings", "contract"):
        assert getattr(a, name) == getattr(b, name)
    assert [(s.space, s.address) for s in a.sections] == [(s.space, s.address) for s in b.sections]
    pairs = list(zip(a.sections, b.sections, strict=True))
    pairs = [(x.words, y.words) for x, y in pairs]
    assert (a.stream is None) == (b.stream is None)
    if a.stream is not None:
        pairs.append((a.stream.embedding, b.stream.embedding))
        for part in ("body", "head"):
            old, new = getattr(a.stream, part), getattr(b.stream, part)
            assert [space for space, _ in old] == [space for space, _ in new]
            pairs += [(x, y) for (_, x), (_, y) in zip(old, new, strict=True)]
    for x, y in pairs:
        assert x.dtype == y.dtype == np.uint32 and x.shape == y.shape and np.array_equal(x, y)


@pytest.mark.parametrize("streamed", [False, True])
def test_round_trip(tmp_path, streamed):
    image = make_image(streamed)
    path = tmp_path / "model.image"
    image.save(path)
    assert_same(image, load_image(path))
    assert is_image(path)
    assert os.listdir(tmp_path) == ["model.image"]
    assert image.streamed_words == (4 + 15 + 9 if streamed else 0)
    assert image.loaded_words == 38
    assert (image.context, image.end_token) == (32, 2)


def test_saving_again_replaces(tmp_path):
    path = tmp_path / "model.image"
    make_image(True).save(path)
    make_image(False).save(path)
    assert load_image(path).stream is None


def test_unknown_setting():
    with pytest.raises(ValueError, match="warp"):
        make_image(settings={"context": 1, "warp": 9})


def patched(raw: bytes, offset: int, value: bytes) -> bytes:
    return raw[:offset] + value + raw[offset + len(value) :]


def with_checksum(raw: bytes) -> bytes:
    checksum = zlib.crc32(raw[HEADER.size :], zlib.crc32(raw[: HEADER.size - 4]))
    return patched(raw, HEADER.size - 4, struct.pack("<I", checksum))


WRONG_FILES = {
    "empty": (lambda raw: b"", "not a Spikelet image"),
    "foreign": (lambda raw: b"GGUF" + raw[4:], "not a Spikelet image"),
    "header cut": (lambda raw: raw[:20], "truncated: its header has 32 bytes, the file has 20"),
    "data cut": (lambda raw: raw[:-5], "asks for {size} bytes, the file has {cut}"),
    "longer": (lambda raw: raw + b"x", "oversized"),
    "bit flipped in the data": (lambda raw: patched(raw, len(raw) - 9, bytes([raw[-9] ^ 4])),
                                "checksum"),
    "bit flipped in the description": (lambda raw: patched(raw, 40, bytes([raw[40] ^ 1])),
                                       "checksum"),
    "identity changed": (lambda raw: patched(raw, 12, b"abcd"), "checksum"),
    "other contract": (lambda raw: patched(raw, 8, struct.pack("<I", CONTRACT_VERSION + 1)),
                       f"made for contract {CONTRACT_VERSION + 1}, this is {CONTRACT_VERSION}: "
                       "compile the model again"),
    "other sizes of the configuration": (lambda raw: with_checksum(patched(raw, 12, b"abcd")),
                                         "other sizes of the configuration 'tiny'"),
    "description of other sizes": (
        lambda raw: with_checksum(raw.replace(b'[3, 0, 30]', b'[3, 0, 31]')), "damaged"),
    "description without sense": (
        lambda raw: with_checksum(raw.replace(b'"sections"', b'"sektions"')), "damaged"),
    "unknown space": (lambda raw: with_checksum(raw.replace(b'[3, 0, 30]', b'[99,0, 30]')),
                      "damaged"),
    "unknown setting": (lambda raw: with_checksum(raw.replace(b'"end_token"', b'"end_taken"')),
                        "damaged"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_FILES)
def test_wrong_files(tmp_path, case):
    path = tmp_path / "model.image"
    make_image().save(path)
    raw = path.read_bytes()
    change, expected = WRONG_FILES[case]
    assert change(raw) != raw
    path.write_bytes(change(raw))
    with pytest.raises(SpikeletError) as error:
        load_image(path)
    message = str(error.value)
    assert expected.format(size=len(raw), cut=len(raw) - 5) in message
    assert str(path) in message and "\n" not in message


def test_every_truncation_is_told(tmp_path):
    path = tmp_path / "model.image"
    make_image(streamed=False).save(path)
    raw = path.read_bytes()
    for length in range(0, len(raw), 7):
        path.write_bytes(raw[:length])
        with pytest.raises(SpikeletError):
            load_image(path)


def test_paths(tmp_path):
    with pytest.raises(SpikeletError, match="does not exist"):
        load_image(tmp_path / "absent")
    with pytest.raises(SpikeletError, match="is a folder"):
        load_image(tmp_path)
    with pytest.raises(SpikeletError, match="is a folder"):
        make_image().save(tmp_path)
    with pytest.raises(SpikeletError, match="cannot write"):
        make_image().save(tmp_path / "no" / "such" / "folder")
    assert not is_image(tmp_path) and not is_image(tmp_path / "absent")


def test_other_configurations(tmp_path):
    path = tmp_path / "model.image"
    make_image().save(path)
    with pytest.raises(SpikeletError, match="made for the configuration 'tiny', not for 'small'"):
        load_image(path, CONFIGURATIONS["small"])
    make_image(configuration="gone").save(path)
    with pytest.raises(SpikeletError, match="'gone', which does not exist here"):
        load_image(path)


def test_header_begins_with_the_magic(tmp_path):
    path = tmp_path / "model.image"
    make_image().save(path)
    assert path.read_bytes().startswith(MAGIC + struct.pack("<I", CONTRACT_VERSION))
