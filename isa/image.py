"""The model image: everything a device needs to run one model, as one file.

The file, little-endian: a header (magic, contract version, configuration identity, bytes of the
description, 32-bit data words, CRC-32 of all that and of what follows), the description (JSON),
the data. The description names the configuration, the model, the settings and the size of every
array; the arrays follow one another in its order. Spaces fill the description up, so that the data
begins at a multiple of 64 bytes and can be mapped into memory.
"""

import itertools
import json
import os
import struct
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from isa.configurations import CONFIGURATIONS, Configuration
from isa.errors import SpikeletError
from isa.packets import Space
from isa.registers import CONTRACT_VERSION, SETTINGS

MAGIC = b"SPKLIMG\n"
HEADER = struct.Struct("<8sIIIQI")
HEADER_FIELDS = (
    ("magic", 8, "the text SPKLIMG and a line feed"),
    ("contract", 4, "contract version"),
    ("identity", 4, "CRC-32 of the configuration's sizes"),
    ("description", 4, "bytes of the description"),
    ("words", 8, "32-bit words of data"),
    ("checksum", 4, "CRC-32 of the fields above, the description and the data"),
)
DATA_ALIGNMENT = 64  # the data begins at a multiple of these bytes
CHUNK_BYTES = 1 << 22  # read at a time for the checksum

Words = np.ndarray  # uint32, link words


@dataclass(frozen=True)
class Section:
    """Words for one memory, from one address (in link words) on. Loaded once."""

    space: Space
    address: int
    words: Words


@dataclass(frozen=True)
class Stream:
    """Weights that the host sends for every position, in the order of their consumption.

    First the rows of the position's token from `embedding` (vocab, words), then `body`, then
    `head` where the head runs. Space is ROW or PARAMETER.
    """

    embedding: Words
    body: Sequence[tuple[Space, Words]]
    head: Sequence[tuple[Space, Words]]


@dataclass(frozen=True)
class Image:
    """A model compiled for one configuration.

    `model` is what people and tools want to know: dim, hidden, layers, heads, kv_heads, head_dim,
    vocab, context, fraction, weights ("resident", "streamed" or "external"), schedule. `settings`
    holds the value of every register of isa.registers.SETTINGS that is not 0.
    """

    configuration: str
    identity: int
    model: dict[str, Any]
    settings: dict[str, int]
    sections: list[Section]
    stream: Stream | None = None
    contract: int = field(default=CONTRACT_VERSION)

    def __post_init__(self) -> None:
        unknown = set(self.settings) - {register.name for register in SETTINGS}
        if unknown:
            raise ValueError(f"no settings of this name: {', '.join(sorted(unknown))}")

    @property
    def context(self) -> int:
        """Positions that the image has room for."""
        return self.settings["context"]

    @property
    def end_token(self) -> int | None:
        """The token that ends a generation, if there is one."""
        enabled = self.settings.get("end_token_enable", 0)
        return self.settings.get("end_token", 0) if enabled else None

    @property
    def loaded_words(self) -> int:
        """Link words of all sections."""
        return sum(section.words.size for section in self.sections)

    @property
    def streamed_words(self) -> int:
        """Link words that the host sends for a position with its head; 0 when resident."""
        if self.stream is None:
            return 0
        parts = [*self.stream.body, *self.stream.head]
        return self.stream.embedding.shape[1] + sum(words.size for _, words in parts)

    def check_device(self, configuration: Configuration, origin: str = "the image") -> None:
        """Raises SpikeletError unless the image was made for exactly this configuration."""
        if self.identity == configuration.identity:
            return
        if self.configuration == configuration.name:
            raise SpikeletError(f"{origin} was made for other sizes of the configuration "
                                f"'{configuration.name}': compile the model again")
        raise SpikeletError(f"{origin} was made for the configuration '{self.configuration}', not "
                            f"for '{configuration.name}': use --config {self.configuration}, or "
                            "compile the model again")

    def arrays(self) -> list[Words]:
        """Every array in the order of the file: sections, then the stream's."""
        arrays = [section.words for section in self.sections]
        if self.stream is not None:
            arrays.append(self.stream.embedding)
            arrays += [words for _, words in (*self.stream.body, *self.stream.head)]
        return arrays

    def save(self, path: str | Path) -> None:
        """Writes the image; the file appears whole or not at all.

        Raises:
            SpikeletError: the file cannot be written.
        """
        with ImageWriter(path, self) as writer:
            for index, words in enumerate(self.arrays()):
                writer.put(index, words)
            writer.close(self)

    def _description(self) -> dict[str, Any]:
        stream = None
        if self.stream is not None:
            stream = {
                "embedding": list(self.stream.embedding.shape),
                "body": [[int(space), words.size] for space, words in self.stream.body],
                "head": [[int(space), words.size] for space, words in self.stream.head],
            }
        return {
            "configuration": self.configuration,
            "model": self.model,
            "settings": self.settings,
            "sections": [[int(s.space), s.address, s.words.size] for s in self.sections],
            "stream": stream,
        }

    def _encoded(self) -> bytes:
        """The description, filled up with spaces so that the data can be mapped into memory."""
        text = json.dumps(self._description()).encode()
        return text + b" " * (-(HEADER.size + len(text)) % DATA_ALIGNMENT)


def check_writable(path: str | Path) -> None:
    """Raises SpikeletError where an image could not be written, before any work is done for it."""
    path = Path(path)
    if path.is_dir():
        raise SpikeletError(f"cannot write the image {path}: it is a folder; give a file name")
    if not path.absolute().parent.is_dir():
        raise SpikeletError(f"cannot write the image {path}: its folder does not exist")
    if not os.access(path.absolute().parent, os.W_OK):
        raise SpikeletError(f"cannot write the image {path}: its folder may not be written")


class ImageWriter:
    """Writes an image array by array, in any order; a context manager.

    The file appears under its name, whole and with its checksum, when `close` is called; until
    then, and after any error, what had that name stays as it was.

    Args:
        path: the file to write or to replace.
        outline: an image whose description is as long and whose arrays are as large as in the one
            that is closed; the arrays' contents do not matter (`blank`).

    Raises:
        SpikeletError: the file cannot be written. So do `put` and `close`.
    """

    def __init__(self, path: str | Path, outline: Image) -> None:
        check_writable(path)
        self._path = Path(path)
        self._sizes = [words.size for words in outline.arrays()]
        self._starts = [0, *itertools.accumulate(self._sizes)]
        self._data = HEADER.size + len(outline._encoded())
        self._left = self._starts[-1]
        with self._explained():
            handle, self._temporary = tempfile.mkstemp(prefix=f".{self._path.name}-",
                                                       dir=self._path.absolute().parent)
        self._file = os.fdopen(handle, "w+b", buffering=0)

    def __enter__(self) -> "ImageWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()
        if self._temporary is not None:
            with suppress(OSError):
                os.unlink(self._temporary)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SpikeletError(f"cannot write the image {self._path}: {error.strerror}") from None

    def put(self, index: int, words: Words, first: int = 0) -> None:
        """Words of array `index` (order of `Image.arrays`), from its word `first` on."""
        if first + words.size > self._sizes[index]:
            raise ValueError(f"array {index} has {self._sizes[index]} words")
        self._left -= words.size
        self._write(self._data + 4 * (self._starts[index] + first),
                    np.ascontiguousarray(words, dtype="<u4").reshape(-1).view(np.uint8))

    def _write(self, at: int, raw: bytes | np.ndarray) -> None:
        view = memoryview(raw)
        with self._explained():
            self._file.seek(at)
            while len(view):
                view = view[self._file.write(view):]

    def close(self, image: Image) -> None:
        """Adds the description of `image` and the checksum, and gives the file its name."""
        description = image._encoded()
        if HEADER.size + len(description) != self._data or self._left:
            raise ValueError("the image is not the one that was outlined, or has gaps")
        start = HEADER.pack(MAGIC, image.contract, image.identity, len(description),
                            self._starts[-1], 0)[:-4]
        self._write(HEADER.size, description)
        with self._explained():
            checksum = _checksum(self._file, start)
        self._write(0, start + struct.pack("<I", checksum))
        with self._explained():
            os.fsync(self._file.fileno())
            os.chmod(self._temporary, 0o644)
            os.replace(self._temporary, self._path)
        self._temporary = None


def blank(*shape: int) -> Words:
    """Zeros of any size that take no memory, for the outline of an image."""
    return np.broadcast_to(np.uint32(0), shape)


def _checksum(file: BinaryIO, start: bytes) -> int:
    """CRC-32 of the header's beginning and of all that follows the header."""
    file.seek(HEADER.size)
    checksum = zlib.crc32(start)
    while chunk := file.read(CHUNK_BYTES):
        checksum = zlib.crc32(chunk, checksum)
    return checksum


def is_image(path: str | Path) -> bool:
    """Whether a file begins like an image; False for what cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def load_image(path: str | Path, device: Configuration | None = None) -> Image:
    """Reads an image for `device` (default: the named configuration it was made for).

    Raises:
        SpikeletError: one line for a file that is missing, a folder, no image, of another
            contract version, truncated, oversized, damaged, or made for another configuration.
    """
    path = Path(path)
    if not path.exists():
        raise SpikeletError(f"image {path} does not exist: check the path")
    if path.is_dir():
        raise SpikeletError(f"image {path} is a folder: give a file")
    try:
        image = _read(path)
    except OSError as error:
        raise SpikeletError(f"image {path} cannot be read: {error.strerror}") from None
    if device is None:
        device = CONFIGURATIONS.get(image.configuration)
    if device is None:
        raise SpikeletError(f"image {path} was made for the configuration "
                            f"'{image.configuration}', which does not exist here: compile the "
                            "model again")
    image.check_device(device, f"image {path}")
    return image


def _read(path: Path) -> Image:
    """The image, checked; its arrays stay in the file, of which the system reads what is used."""
    size = path.stat().st_size
    with path.open("rb") as file:
        raw = file.read(HEADER.size)
        if raw[: len(MAGIC)] != MAGIC:
            raise SpikeletError(f"{path} is not a Spikelet image: make one with spikelet compile")
        if len(raw) < HEADER.size:
            raise SpikeletError(f"image {path} is truncated: its header has {HEADER.size} bytes, "
                                f"the file has {len(raw)}; compile the model again")
        _, contract, identity, length, count, checksum = HEADER.unpack(raw)
        if contract != CONTRACT_VERSION:
            raise SpikeletError(f"image {path} was made for contract {contract}, this is "
                                f"{CONTRACT_VERSION}: compile the model again")
        expected = HEADER.size + length + 4 * count
        if size != expected:
            word = "truncated" if size < expected else "oversized"
            raise SpikeletError(f"image {path} is {word}: its header asks for {expected} bytes, "
                                f"the file has {size}; compile the model again")
        found = _checksum(file, raw[:-4])
        if found != checksum:
            raise SpikeletError(f"image {path} is damaged: its checksum is {found:08x}, its header "
                                f"says {checksum:08x}; compile the model again")
        file.seek(HEADER.size)
        description = file.read(length)
        words = np.zeros(0, np.uint32)  # an empty map is an error
        if count:
            words = np.asarray(np.memmap(file, "<u4", "r", HEADER.size + length, (count,)))
    try:
        return _assemble(json.loads(description), identity, words)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise SpikeletError(f"image {path} is damaged: its description does not fit its data; "
                            "compile the model again") from None


def _assemble(description: dict[str, Any], identity: int, words: Words) -> Image:
    at = 0

    def take(count: int) -> Words:
        nonlocal at
        if count < 0 or at + count > words.size:
            raise ValueError("more words described than there are")
        at += count
        return words[at - count : at]

    sections = [Section(Space(space), address, take(count))
                for space, address, count in description["sections"]]
    stream = None
    if description["stream"] is not None:
        vocab, each = description["stream"]["embedding"]
        embedding = take(vocab * each).reshape(vocab, each)
        body, head = ([(Space(space), take(count)) for space, count in description["stream"][part]]
                      for part in ("body", "head"))
        stream = Stream(embedding, body, head)
    if at != words.size:
        raise ValueError("fewer words described than there are")
    image = Image(description["configuration"], identity, description["model"],
                  description["settings"], sections, stream)
    if "context" not in image.settings or not isinstance(image.model, dict):
        raise ValueError("no context")
    return image
