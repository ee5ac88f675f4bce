"""The tokenizer against a plain restatement of llama2.c's algorithm, and its bad files."""

import random
import struct

import pytest

from golden.tokenizers.llama2c import BOS, EOS, Llama2cTokenizer
from golden.tokenizers.load import load_tokenizer
from golden.tokenizers.tokenizer import StreamDecoder
from isa.errors import SpikeletError
from tests.golden.models import SEED
from tests.shared import shared_file

TEXTS = ["Once upon a time", "Lily and Tom; \"Hello!\" 42\n\nThe end.", " two  spaces ",
         "naïve café", "日本語 🙂", "a", " ", "\t"]


def small() -> Llama2cTokenizer:
    pieces = [b"<unk>", b"\n<s>\n", b"\n</s>\n"] + [b"<0x%02X>" % b for b in range(256)]
    letters = [b" ", b"a", b"b", b"c", "é".encode()]
    merges = [b"ab", b"bc", b" a", b"abc", b"aa", b" ab"]
    scores = [0.0] * (len(pieces) + len(letters)) + [-1.0, -1.0, -3.0, -2.0, -0.5, -0.25]
    return Llama2cTokenizer(pieces + letters + merges, scores)


def write(path, tokenizer: Llama2cTokenizer) -> None:
    raw = struct.pack("<i", max(map(len, tokenizer.pieces)))
    for piece, score in zip(tokenizer.pieces, tokenizer.scores, strict=True):
        raw += struct.pack("<fi", score, len(piece)) + piece
    path.write_bytes(raw)


def plain_encode(tokenizer: Llama2cTokenizer, text: str) -> list[int]:
    """llama2.c's loop as it is: look at all neighbours, merge the best, again."""
    index = {piece: token for token, piece in reversed(list(enumerate(tokenizer.pieces)))}
    ids = []
    for character in " " + text if text else "":
        encoded = character.encode()
        ids += [index[encoded]] if encoded in index else [byte + 3 for byte in encoded]
    while True:
        best = None
        for i in range(len(ids) - 1):
            merged = index.get(tokenizer.pieces[ids[i]] + tokenizer.pieces[ids[i + 1]])
            if merged is not None and (best is None or tokenizer.scores[merged] > best[0]):
                best = tokenizer.scores[merged], i, merged
        if best is None:
            return [BOS] + ids
        ids[best[1]:best[1] + 2] = [best[2]]


def test_known_merges():
    tokenizer = small()
    # "ab" and "bc" score the same: the left one wins, and then " ab" is better than "abc".
    assert [tokenizer.pieces[t] for t in tokenizer.encode("abc", bos=False)] == [b" ab", b"c"]
    assert tokenizer.encode("") == [BOS]
    assert tokenizer.encode("", bos=False) == []
    assert tokenizer.encode("é", bos=False)[-1] == tokenizer.pieces.index("é".encode())
    assert tokenizer.encode("z", bos=False)[-1] == ord("z") + 3


def test_random_text_equals_plain_algorithm():
    print("seed", SEED)
    rng, tokenizer = random.Random(SEED), small()
    for _ in range(300):
        text = "".join(rng.choices("aabbcc é?", k=rng.randrange(1, 40)))
        assert tokenizer.encode(text) == plain_encode(tokenizer, text), text


def test_decode_takes_the_leading_space_after_bos_only():
    tokenizer = small()
    space_a = tokenizer.pieces.index(b" a")
    assert tokenizer.decode([BOS, space_a, space_a]) == "a a"
    assert tokenizer.decode([space_a]) == " a"
    assert tokenizer.decode([BOS, space_a, EOS]) == "a"


def test_stream_holds_back_incomplete_characters():
    tokenizer = small()
    decoder = StreamDecoder(tokenizer)
    came = [decoder.push(byte + 3) for byte in "€!".encode()]
    assert came == ["", "", "€", "!"] and decoder.finish() == ""
    decoder.push(0xE2 + 3)
    assert decoder.finish() == "\N{REPLACEMENT CHARACTER}"
    assert tokenizer.decode([0xFF + 3, ord("a") + 3]) == "\N{REPLACEMENT CHARACTER}a"


def test_no_token_and_no_byte():
    tokenizer = Llama2cTokenizer([b"<unk>", b"<s>", b"</s>", b" ", b"a"], [0.0] * 5)
    assert tokenizer.encode("a a")[0] == BOS
    with pytest.raises(SpikeletError, match="'z'"):
        tokenizer.encode("z")


def test_story_tokenizer():
    tokenizer = load_tokenizer(shared_file("models/tok512.bin"), 512)
    for text in TEXTS:
        ids = tokenizer.encode(text)
        assert ids == plain_encode(tokenizer, text), text
        assert tokenizer.decode(ids) == text
        decoder = StreamDecoder(tokenizer)
        assert "".join(map(decoder.push, ids)) + decoder.finish() == text


def message(path, vocab=None) -> str:
    with pytest.raises(SpikeletError) as caught:
        load_tokenizer(path, vocab)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_files(tmp_path):
    path = tmp_path / "tokenizer.bin"
    write(path, small())
    again = load_tokenizer(path, small().vocab)
    assert again.pieces == small().pieces and again.encode("abc") == small().encode("abc")
    text = message(path, 512)
    assert str(small().vocab) in text and "512" in text and "that belongs to the model" in text
    assert "300" in message(path, 300)
    raw = path.read_bytes()
    for cut in (5, 101, len(raw) - 1):
        path.write_bytes(raw[:cut])
        assert "truncated" in message(path, small().vocab)
    for content in (b"", b"abc"):
        path.write_bytes(content)
        assert "truncated" in message(path)
    path.write_bytes(b"not a tokenizer at all, but text")
    assert "does not look like" in message(path)
    assert "does not exist" in message(tmp_path / "none.bin")
    path.rename(tmp_path / "tok512.bin")
    assert "folder without" in message(tmp_path)
