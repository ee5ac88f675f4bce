"""What the memories of a device hold at power-on, made from an image: for the bitstream."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from isa.configurations import Configuration
from isa.errors import SpikeletError
from isa.image import Image
from isa.instructions import INSTRUCTION_LINK_WORDS
from isa.packets import Space
from isa.registers import SETTINGS


@dataclass(frozen=True)
class Contents:
    """Entries of every loadable memory from entry 0 on, and registers; what is absent is zero.

    An entry is its link words (isa.packets.Space) as one unsigned integer, the first word lowest;
    entry r * G + c of ROW is row r of core c. `identity` is `image_identity`, 0: no model.
    """

    entries: Mapping[Space, Sequence[int]] = field(default_factory=dict)
    settings: Mapping[str, int] = field(default_factory=dict)
    identity: int = 0

    def of(self, space: Space) -> Sequence[int]:
        """The entries of one memory."""
        return self.entries.get(space, ())

    def rows(self, core: int, cores: int) -> Sequence[int]:
        """The rows of one of `cores` synapse cores."""
        return self.of(Space.ROW)[core::cores]


EMPTY = Contents()


def entry_words(space: Space, c: Configuration) -> int:
    """Link words of an entry of a loadable memory."""
    wide = {
        Space.ROW: c.lanes // 4,
        Space.PARAMETER: c.vector_lanes // 2,
        Space.ROTATION: c.vector_lanes // 2,
        Space.PROGRAM: INSTRUCTION_LINK_WORDS,
    }
    return wide.get(space, 1)


def image_identity(image: Image) -> int:
    """CRC-32 of everything that loading the image writes into a device; never 0.

    Two images with the same sections and settings are the same model to a device, whatever they
    say of themselves and whatever the host streams.
    """
    registers = [image.settings.get(r.name, 0) & 0xFFFFFFFF for r in SETTINGS]
    head = np.array([image.contract, image.identity, *registers], dtype="<u4")
    crc = zlib.crc32(head.tobytes())
    for section in image.sections:
        place = np.array([section.space, section.address, section.words.size], dtype="<u4")
        crc = zlib.crc32(place.tobytes(), crc)
        crc = zlib.crc32(np.ascontiguousarray(section.words, dtype="<u4"), crc)
    return crc or 1


def contents(image: Image, c: Configuration) -> Contents:
    """The contents of a device of configuration `c` after loading the image.

    Raises:
        SpikeletError: the image was made for another configuration.
    """
    image.check_device(c)
    words: dict[Space, np.ndarray] = {}
    for section in image.sections:
        end = section.address + section.words.size
        whole = -(-end // entry_words(section.space, c)) * entry_words(section.space, c)
        old = words.get(section.space, np.zeros(0, "<u4"))
        memory = np.zeros(max(whole, old.size), "<u4")
        memory[: old.size] = old
        memory[section.address : end] = section.words
        words[section.space] = memory
    if Space.REGISTER in words or Space.VECTOR in words:
        raise SpikeletError("the image loads registers or vectors as sections, which a bitstream "
                            "cannot hold: compile the model again")
    entries = {}
    for space, memory in words.items():
        raw, size = memory.tobytes(), 4 * entry_words(space, c)
        entries[space] = tuple(
            int.from_bytes(raw[at : at + size], "little") for at in range(0, len(raw), size)
        )
    return Contents(entries, dict(image.settings), image_identity(image))
