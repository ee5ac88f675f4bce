"""The model image: everything a device needs to run one model, as one file.

The file, little-endian: a header (magic, contract version, configuration identity, bytes of the
description, 32-bit data words, CRC-32 of all that and of what follows), the description (JSON),
the data. The description names the configuration, the model, the settings and the size of every
array; the arrays follow one another in its order.
"""

import json
import os
import struct
import tempfile
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
    vocab, context, fraction, weights ("resident" or "streamed"), schedule. `settings` holds the
    value of every register of isa.registers.SETTINGS that is not 0.
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

    def save(self, path: str | Path) -> None:
        """Writes the image; the file appears whole or not at all.

        Raises:
            SpikeletError: the file cannot be written.
        """
        path = Path(path)
        arrays = [section.words for section in self.sections]
        if self.stream is not None:
            arrays += [self.stream.embedding]
            arrays += [words for _, words in (*self.stream.body, *self.stream.head)]
        data = [np.ascontiguousarray(words, dtype="<u4") for words in arrays]
        description = json.dumps(self._description()).encode()
        start = HEADER.pack(MAGIC, self.contract, self.identity, len(description),
                            sum(words.size for words in data), 0)[:-4]
        checksum = zlib.crc32(description, zlib.crc32(start))
        for words in data:
            checksum = zlib.crc32(words, checksum)
        if path.is_dir():
            raise SpikeletError(f"cannot write the image {path}: it is a folder; give a file name")
        temporary = None
        try:
            handle, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
            with os.fdopen(handle, "wb") as file:
                file.write(start + struct.pack("<I", checksum) + description)
                for words in data:
                    file.write(words)
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
            temporary = None
        except OSError as error:
            raise SpikeletError(f"cannot write the image {path}: {error.strerror}") from None
        finally:
            if temporary is not None:
                with suppress(OSError):
                    os.unlink(temporary)

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
        raw = path.read_bytes()
    except OSError as error:
        raise SpikeletError(f"image {path} cannot be read: {error.strerror}") from None
    if raw[: len(MAGIC)] != MAGIC:
        raise SpikeletError(f"{path} is not a Spikelet image: make one with spikelet compile")
    if len(raw) < HEADER.size:
        raise SpikeletError(f"image {path} is truncated: its header has {HEADER.size} bytes, the "
                            f"file has {len(raw)}; compile the model again")
    _, contract, identity, length, count, checksum = HEADER.unpack_from(raw)
    if contract != CONTRACT_VERSION:
        raise SpikeletError(f"image {path} was made for contract {contract}, this is "
                            f"{CONTRACT_VERSION}: compile the model again")
    expected = HEADER.size + length + 4 * count
    if len(raw) != expected:
        word = "truncated" if len(raw) < expected else "oversized"
        raise SpikeletError(f"image {path} is {word}: its header asks for {expected} bytes, the "
                            f"file has {len(raw)}; compile the model again")
    body = memoryview(raw)[HEADER.size :]
    found = zlib.crc32(body, zlib.crc32(raw[: HEADER.size - 4]))
    if found != checksum:
        raise SpikeletError(f"image {path} is damaged: its checksum is {found:08x}, its header "
                            f"says {checksum:08x}; compile the model again")
    words = np.frombuffer(body[length:], dtype="<u4").astype(np.uint32, copy=False)
    try:
        image = _assemble(json.loads(bytes(body[:length])), identity, words)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise SpikeletError(f"image {path} is damaged: its description does not fit its data; "
                            "compile the model again") from None
    if device is None:
        device = CONFIGURATIONS.get(image.configuration)
    if device is None:
        raise SpikeletError(f"image {path} was made for the configuration "
                            f"'{image.configuration}', which does not exist here: compile the "
                            "model again")
    image.check_device(device, f"image {path}")
    return image


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
