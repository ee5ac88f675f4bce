"""Tokenizers: text to token ids and back, whatever file they came from."""

import codecs
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path

from isa.errors import SpikeletError

JSON_FILE, LLAMA2C_FILE = "tokenizer.json", "tokenizer.bin"


class Tokenizer(ABC):
    """What every tokenizer does. Decoding gives the encoded text back.

    `begin` is the token that a text begins with, `end` the one that ends it; None where there is
    none.
    """

    begin: int | None
    end: int | None

    @property
    @abstractmethod
    def vocab(self) -> int:
        """Number of tokens: the largest id and one."""

    @abstractmethod
    def encode(self, text: str, bos: bool = True) -> list[int]:
        """Token ids of a text, after `begin` (where there is one) with `bos`.

        Raises:
            SpikeletError: a character that has no token.
        """

    @abstractmethod
    def piece(self, token: int, previous: int | None = None) -> bytes:
        """The bytes that a token adds to the text after `previous` (None: nothing before).

        Special tokens, and ids that only the model has, add nothing.
        """

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token ids; bytes that are no UTF-8 become U+FFFD."""
        decoder = StreamDecoder(self)
        return "".join([decoder.push(token) for token in ids]) + decoder.finish()


class StreamDecoder:
    """Text as tokens come: holds back the bytes of a character until it is complete."""

    def __init__(self, tokenizer: Tokenizer, previous: int | None = None) -> None:
        self._tokenizer, self._previous = tokenizer, previous
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token: int) -> str:
        """The characters that this token completes, often all of its own."""
        piece = self._tokenizer.piece(token, self._previous)
        self._previous = token
        return self._utf8.decode(piece)

    def finish(self) -> str:
        """What is left of an incomplete character at the end, as U+FFFD."""
        return self._utf8.decode(b"", final=True)


def find_tokenizer(folder: Path) -> Path | None:
    """The tokenizer's file in a model's folder, if there is one."""
    return next((folder / name for name in (JSON_FILE, LLAMA2C_FILE) if (folder / name).exists()),
                None)


def load_tokenizer(path: str | Path, vocab: int | None = None) -> Tokenizer:
    """Reads a tokenizer for a model of `vocab` tokens (None: any).

    Args:
        path: a tokenizer.json, with its begin and end in the config.json beside it; a llama2.c
            tokenizer.bin; or a folder that holds one of them.

    Raises:
        SpikeletError: one line for a file that is missing, truncated, of another format, of a kind
            that is not decoded here, or of more tokens than the model's.
    """
    # Each format's module builds on this one.
    from golden.model.huggingface_tokenizer import read_json_tokenizer
    from golden.model.llama2c_tokenizer import read_llama2c

    path = Path(path)
    if not path.exists():
        raise SpikeletError(f"tokenizer {path} does not exist: check the path")
    if path.is_dir():
        found = find_tokenizer(path)
        if found is None:
            raise SpikeletError(f"tokenizer {path} is a folder without {JSON_FILE}: give a "
                                "tokenizer file")
        path = found
    if path.suffix == ".json":
        return read_json_tokenizer(path, vocab)
    return read_llama2c(path, vocab)
