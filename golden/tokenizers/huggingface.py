"""tokenizer.json of Hugging Face's `tokenizers`: byte-level BPE, and metaspace with byte fallback.

The library encodes; it decodes whole texts only, so the bytes of single tokens are formed here. A
byte-level token spells each byte as one character; others spell a space as U+2581 and a byte
without a token as `<0x00>` to `<0xFF>`. Source: huggingface/tokenizers, src/decoders.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tokenizers

from golden.checkpoints.huggingface_config import begin_and_end, read_json
from golden.tokenizers.tokenizer import Tokenizer
from isa.errors import SpikeletError

SPACE = "\u2581"
SPELLED_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


def _byte_alphabet() -> dict[str, int]:
    """Character -> byte: printable bytes are themselves, the others follow from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {
        chr(256 + n): byte for n, byte in enumerate(others)}


BYTES = _byte_alphabet()


class HuggingFaceTokenizer(Tokenizer):
    """A tokenizer.json, which gives back the text it encodes (as its normaliser leaves it).

    Special tokens that are spelled out in a text are text.

    Args:
        path: the file; `begin` and `end` are bos_token_id and eos_token_id of the config.json
            beside it.

    Raises:
        SpikeletError: a damaged file, a kind that is not decoded here, or a begin or end that is
            no token.
    """

    def __init__(self, path: Path) -> None:
        description = read_json(path)
        try:
            self._library = tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except Exception as error:      # the library raises no narrower type
            raise SpikeletError(f"{path} is damaged or no tokenizer.json ({error}): fetch the file "
                                "again") from None
        self._library.no_truncation()
        self._library.no_padding()
        self._library.encode_special_tokens = True
        added = self._library.get_added_tokens_decoder()
        self._known: dict[int, bytes] = {}      # texts for training have millions of tokens
        self._special = {token for token, entry in added.items() if entry.special}
        self._literal = {token: entry.content.encode() for token, entry in added.items()
                         if not entry.special}
        self._byte_level = _is_byte_level(path, description.get("decoder"))
        self._unknown = self._unknown_token(description["model"])
        self._vocab = 1 + max(self._library.get_vocab(with_added_tokens=True).values(), default=-1)
        self.begin, self.end = begin_and_end(path.parent / "config.json")
        for token in (self.begin, self.end):
            if token is not None and token >= self._vocab:
                raise SpikeletError(f"{path.parent / 'config.json'} names token {token} as begin "
                                    f"or end, {path.name} has {self._vocab}: give files of one "
                                    "model")
        # Some tokenizers put a space before a text; some of these only if it begins without one.
        self._puts_space = self._raw("a").startswith(b" ")
        self._shares_space = self._puts_space and not self._raw(" a").startswith(b"  ")

    def _unknown_token(self, model: dict[str, Any]) -> int | None:
        """The id of the token for unknown text; a Unigram model names it by its number, BPE by its
        text."""
        if model.get("unk_id") is not None:
            return model["unk_id"]
        name = model.get("unk_token")
        return None if name is None else self._library.token_to_id(name)

    @property
    def vocab(self) -> int:
        """Number of tokens: the largest id plus one."""
        return self._vocab

    def encode(self, text: str, bos: bool = True) -> list[int]:
        """Token ids of a text, after `begin` (where there is one) with `bos`.

        Raises:
            SpikeletError: a character that has no token.
        """
        first = [self.begin] if bos and self.begin is not None else []
        if not text:
            return first
        # A lone surrogate is in no text that UTF-8 can hold.
        text = text.encode("utf-8", "replace").decode()
        if self._shares_space and text.startswith(" "):
            text = " " + text           # the first one is taken away again
        encoding = self._library.encode(text, add_special_tokens=False)
        # The library drops what it has no token for, and a Unigram model takes the names of special
        # and byte tokens in a text for these tokens. Neither would come back as it was.
        normaliser = self._library.normalizer
        whole = text if normaliser is None else normaliser.normalize_str(text)
        expected = (whole if self._byte_level else whole.replace(SPACE, " ")).encode()
        found = b"".join(self._bytes(encoding.ids))
        if found not in (expected, b" " + expected) or self._unknown in encoding.ids:
            raise SpikeletError(f"the tokenizer has no token for {self._culprit(text)!r}: leave it "
                                "out of the text")
        return first + encoding.ids

    def _culprit(self, text: str) -> str:
        """The first part of a text that decoding would not give back."""
        encoding = self._library.encode(text, add_special_tokens=False)
        for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            if token == self._unknown or token in self._special or (
                    text[start:end] == self._library.id_to_token(token)
                    and SPELLED_BYTE.fullmatch(text[start:end])):
                return text[start:end]
        return next((c for c in text if c.encode() not in self._raw(c)), text[:20])

    def _raw(self, text: str) -> bytes:
        return b"".join(self._bytes(self._library.encode(text, add_special_tokens=False).ids))

    def _bytes(self, ids: list[int]) -> Iterator[bytes]:
        """What tokens stand for, with the space that was put before the text."""
        for token in ids:
            if token not in self._known:
                self._known[token] = self._stands_for(token)
            yield self._known[token]

    def _stands_for(self, token: int) -> bytes:
        spelled = self._library.id_to_token(token)
        if token in self._special or spelled is None:
            return b""
        if token in self._literal:
            return self._literal[token]
        if self._byte_level:
            return bytes(BYTES[character] for character in spelled if character in BYTES)
        if byte := SPELLED_BYTE.fullmatch(spelled):
            return bytes([int(byte[1], 16)])
        return spelled.replace(SPACE, " ").encode()

    def piece(self, token: int, previous: int | None = None) -> bytes:
        """The bytes that a token adds to the text after `previous` (None: nothing before).

        Special tokens and ids beyond the vocabulary add nothing; the space that `encode` put
        before a text is taken away again.
        """
        found, = self._bytes([token])
        starts = previous is None or previous in self._special or previous == self.begin
        return found[1:] if self._puts_space and starts and found.startswith(b" ") else found


def _is_byte_level(path: Path, decoder: Any) -> bool:
    """Whether tokens spell bytes as characters, else (metaspace) as they are.

    Raises:
        SpikeletError: a decoder of another kind.
    """
    steps = decoder.get("decoders", [decoder]) if isinstance(decoder, dict) else []
    kinds = [step["type"] for step in steps]
    if "ByteLevel" in kinds:
        return True
    replaced = [step for step in steps if step["type"] == "Replace"]
    spaces = all(step["pattern"] == {"String": SPACE} and step["content"] == " "
                 for step in replaced)
    metaspace = all(step["replacement"] == SPACE for step in steps if step["type"] == "Metaspace")
    if (kinds and spaces and metaspace and ("Metaspace" in kinds or replaced)
            and set(kinds) <= {"Metaspace", "Replace", "ByteFallback", "Fuse", "Strip"}):
        return False
    raise SpikeletError(f"{path} decodes by {', '.join(kinds) or 'nothing'}, which is not known "
                        "here: use a byte-level or metaspace tokenizer")


def read_json_tokenizer(path: Path, vocab: int | None) -> HuggingFaceTokenizer:
    """Reads a tokenizer.json for a model of at least its tokens (None: any).

    Raises:
        SpikeletError: as HuggingFaceTokenizer, or more tokens than the model has.
    """
    tokenizer = HuggingFaceTokenizer(path)
    if vocab is not None and tokenizer.vocab > vocab:
        raise SpikeletError(f"tokenizer {path} has {tokenizer.vocab} tokens, the model has "
                            f"{vocab}: give the tokenizer that belongs to the model")
    return tokenizer
