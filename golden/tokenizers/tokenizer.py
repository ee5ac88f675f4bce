"""Tokenizers: text to token ids and back, whatever file they came from."""

import codecs
from abc import ABC, abstractmethod
from collections.abc import Iterable


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
        """Number of tokens: the largest id plus one."""

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
