"""The llama2.c tokenizer file: SentencePiece-like byte-pair encoding with byte fallback.

The file begins with one int32, the length of the longest piece. Then it has for each token
a float32 score, an int32 length and the piece's bytes. It does not say how many tokens there are,
so they are counted. Source: llama2.c, run.c.
"""

import heapq
import struct
from pathlib import Path

from golden.tokenizers.tokenizer import Tokenizer
from isa.errors import SpikeletError

BOS, EOS = 1, 2
ENTRY = struct.Struct("<fi")


class Llama2cTokenizer(Tokenizer):
    """Text to token ids and back. A text begins with BOS, and the next one's BOS ends it.

    Args:
        pieces: the bytes of each token; byte tokens are spelled `<0x00>` to `<0xFF>`.
        scores: of two possible merges the higher score comes first.
    """

    begin: int | None = BOS
    end: int | None = BOS

    def __init__(self, pieces: list[bytes], scores: list[float]) -> None:
        self.pieces, self.scores = pieces, scores
        self._index: dict[bytes, int] = {}
        for token, piece in enumerate(pieces):
            self._index.setdefault(piece, token)
        spelled = {b"<0x%02X>" % byte: byte for byte in range(256)}
        self._byte_of = {token: spelled[piece] for token, piece in enumerate(pieces)
                         if piece in spelled}
        self._token_of_byte = {byte: token for token, byte in self._byte_of.items()}

    @property
    def vocab(self) -> int:
        """Number of tokens."""
        return len(self.pieces)

    def encode(self, text: str, bos: bool = True) -> list[int]:
        """Token ids of a text, as llama2.c gives them: BOS, a space before the text, merges.

        Raises:
            SpikeletError: a character that has neither a token of its own nor byte tokens.
        """
        ids = [BOS] if bos else []
        if not text:
            return ids
        tokens: list[int] = []
        for character in " " + text:
            encoded = character.encode("utf-8", errors="replace")
            if encoded in self._index:
                tokens.append(self._index[encoded])
                continue
            for byte in encoded:
                if byte not in self._token_of_byte:
                    raise SpikeletError(f"the tokenizer has no token for {character!r}: leave it "
                                        "out of the text")
                tokens.append(self._token_of_byte[byte])
        return ids + self._merge(tokens)

    def _merge(self, tokens: list[int]) -> list[int]:
        """Merges neighbours, the best score first and of equals the leftmost."""
        left = list(range(-1, len(tokens) - 1))
        right = [*range(1, len(tokens)), -1]
        alive = [True] * len(tokens)
        waiting: list[tuple[float, int, int, int, int]] = []

        def consider(a: int, b: int) -> None:
            if a < 0 or b < 0:
                return
            merged = self._index.get(self.pieces[tokens[a]] + self.pieces[tokens[b]])
            if merged is not None:
                heapq.heappush(waiting, (-self.scores[merged], a, tokens[a], tokens[b], merged))

        for a in range(len(tokens) - 1):
            consider(a, a + 1)
        while waiting:
            _, a, first, second, merged = heapq.heappop(waiting)
            b = right[a]
            if not alive[a] or b < 0 or (tokens[a], tokens[b]) != (first, second):
                continue                       # one of the two has merged with another meanwhile
            tokens[a], alive[b] = merged, False
            right[a] = right[b]
            if right[b] >= 0:
                left[right[b]] = a
            consider(left[a], a)
            consider(a, right[a])
        return [token for token, keep in zip(tokens, alive, strict=True) if keep]

    def piece(self, token: int, previous: int | None = None) -> bytes:
        """The bytes that a token adds to the text after `previous` (None: nothing before).

        BOS and EOS add nothing; the space that `encode` put before a text is taken away again.
        """
        if token in (BOS, EOS):
            return b""
        if token in self._byte_of:
            return bytes([self._byte_of[token]])
        piece = self.pieces[token]
        return piece[1:] if previous == BOS and piece.startswith(b" ") else piece


def read_llama2c(path: Path, vocab: int | None) -> Llama2cTokenizer:
    """Reads a tokenizer.bin for a model of exactly `vocab` tokens (None: any).

    Fewer tokens than the model's may be a file that was cut between two tokens, so they are
    refused as well.

    Raises:
        SpikeletError: a file that is truncated, of another format or of another size.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise SpikeletError(f"tokenizer {path} cannot be read: {error.strerror}") from error
    if len(raw) < 4:
        raise SpikeletError(f"tokenizer {path} is empty or truncated ({len(raw)} bytes): fetch the "
                            "file again")
    longest, = struct.unpack_from("<i", raw)
    pieces: list[bytes] = []
    scores: list[float] = []
    at = 4
    while at < len(raw):
        complete = at + ENTRY.size <= len(raw)
        score, length = ENTRY.unpack_from(raw, at) if complete else (0.0, 0)
        # The special tokens are spelled longer than the longest piece in some exports.
        if not 0 <= length <= max(longest, 64) or score != score:
            raise SpikeletError(f"{path} does not look like a llama2.c tokenizer (token "
                                f"{len(pieces)} would have {length} bytes): give its tokenizer.bin")
        at += ENTRY.size
        if not complete or at + length > len(raw):
            raise SpikeletError(f"tokenizer {path} is truncated in token {len(pieces)}"
                                + (f" of {vocab}" if vocab else "") + ": fetch the file again")
        pieces.append(raw[at:at + length])
        scores.append(score)
        at += length
    if vocab is not None and len(pieces) != vocab:
        raise SpikeletError(f"tokenizer {path} has {len(pieces)} tokens, the model has {vocab}: "
                            "give the whole tokenizer that belongs to the model")
    return Llama2cTokenizer(pieces, scores)
