"""Text for training: documents, the tokenizer made for them, their tokens, windows."""

import errno
import json
import os

import numpy as np
import pytest
import torch

from golden.tokenizers.load import load_tokenizer
from golden.training import corpus
from golden.training.corpus import (
    END,
    Windows,
    documents,
    token_array,
    train_tokenizer,
    transformers_settings,
)
from golden.training.settings import Settings
from isa.errors import SpikeletError
from tests.golden.training import VOCAB, full, stories, write_tokenizer
from tests.seeds import seed


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(stories())
    return path


@pytest.mark.parametrize("content, wanted", [
    ("one\ntwo\n", ["one\ntwo"]),
    (f"one\n{END}\ntwo\n", ["one", "two"]),
    (f"one{END}two{END}three\nfour{END}\n{END}{END}  \n{END}five", ["one", "two", "three\nfour",
                                                                    "five"]),
    (f"{END}\nZo\u00eb\n\n\u4f60\u597d\n{END}", ["Zo\u00eb\n\n\u4f60\u597d"]),
    (f"one\r\ntwo\r\n{END}\r\nthree", ["one\ntwo", "three"]),
])  # fmt: skip
def test_documents(tmp_path, content, wanted):
    (tmp_path / "text.txt").write_bytes(content.encode())
    assert list(documents(tmp_path / "text.txt")) == wanted


@pytest.mark.parametrize("content, message", [
    (None, "does not exist"), (b"", "is empty"), (f" \n{END}\n{END}".encode(), "is empty"),
    (b"good\n" * 9000 + b"caf\xe9\n", r"is no UTF-8 text \(line 9001\)"),
    ("folder", "cannot be read: Is a directory"),
])  # fmt: skip
def test_texts_that_are_none(tmp_path, content, message):
    path = tmp_path / "text.txt"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    words = load_tokenizer(write_tokenizer(tmp_path / "words"))
    for reads in (lambda: list(documents(path)), lambda: train_tokenizer(path, 300, tmp_path / "t"),
                  lambda: token_array(path, words, tmp_path / "tokens.npy")):
        with pytest.raises(SpikeletError, match=message):
            reads()
    assert not (tmp_path / "t").exists() and not (tmp_path / "tokens.npy").exists()


def test_tokenizer_gives_back_any_text(text):
    words = load_tokenizer(write_tokenizer(text.parent))
    assert words.vocab == VOCAB and words.begin == words.end == 0
    for sentence in ("the cat sees", "  Zo\u00eb \u4f60\u597d\n\n\t!", "", f"a {END} b"):
        assert words.decode(words.encode(sentence)) == sentence
    assert 0 not in words.encode(f"a {END} b", bos=False)
    assert len(words.encode("the cat the dog", bos=False)) < len("the cat the dog") / 2


@pytest.mark.parametrize("vocab, message", [(257, "no room beside the 256 bytes"),
                                            (5000, "gives only .* tokens, not 5000")])
def test_vocabularies_that_do_not_suit(text, vocab, message):
    with pytest.raises(SpikeletError, match=message):
        train_tokenizer(text, vocab, text.parent / "tokenizer.json")
    assert os.listdir(text.parent) == ["text.txt"]


def test_tokenizer_on_a_full_disk(text, monkeypatch):
    (text.parent / "tokenizer.json").write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SpikeletError, match="cannot write .*tokenizer.json: No space left"):
        train_tokenizer(text, VOCAB, text.parent / "tokenizer.json")
    assert (text.parent / "tokenizer.json").read_text() == "old"


def test_settings_for_transformers(tmp_path):
    file = write_tokenizer(tmp_path)
    values = transformers_settings(file, 77)
    assert values["model_max_length"] == 77 and values["padding_side"] == "left"
    assert {values[f"{name}_token"] for name in ("bos", "eos", "pad")} == {END}
    other = json.loads(file.read_text())
    other["added_tokens"] = []
    file.write_text(json.dumps(other))
    assert transformers_settings(file, 77) is None
    assert transformers_settings(tmp_path / "tokenizer.bin", 77) is None


def test_tokens_of_all_documents(text):
    words, told = load_tokenizer(write_tokenizer(text.parent)), []
    ids = token_array(text, words, tell=told.append)
    wanted = [token for document in stories().split(END)
              for token in words.encode(document.strip())]
    assert ids.tolist() == wanted and ids.dtype == np.uint32
    assert told[-1] == len(ids) and len(told) == 60 and (ids == 0).sum() == 60
    assert words.decode(ids.tolist()).startswith(stories()[:20])


def test_cache(text, monkeypatch):
    words, cache = load_tokenizer(write_tokenizer(text.parent)), text.parent / "tokens.npy"
    made = token_array(text, words, cache)

    def reads_again(tokenizer=words) -> bool:
        read = []
        with monkeypatch.context() as patch:
            patch.setattr(corpus, "documents", lambda path: read.append(path) or documents(path))
            found = token_array(text, tokenizer, cache)
        assert found.tolist() == token_array(text, tokenizer).tolist()
        return bool(read)

    assert not reads_again() and token_array(text, words, cache).tolist() == made.tolist()
    # A tokenizer that differs only in where texts begin, and one that differs in its last token.
    (text.parent / "config.json").write_text("{}")
    assert reads_again(load_tokenizer(text.parent / "tokenizer.json"))
    write_tokenizer(text.parent)
    train_tokenizer(text, VOCAB - 1, text.parent / "tokenizer.json")
    assert reads_again(load_tokenizer(text.parent / "tokenizer.json")) and reads_again()
    text.write_text(stories() + " the end")
    assert reads_again() and not reads_again()
    for damage in (b"", cache.read_bytes()[:-30], b"no array", cache.read_bytes()[:-4]):
        cache.write_bytes(damage)
        assert reads_again() and not reads_again()
    np.save(cache, np.zeros((20, 2)))
    assert reads_again()


def test_a_pipe_is_not_cached(tmp_path):
    words, cache = load_tokenizer(write_tokenizer(tmp_path)), tmp_path / "tokens.npy"
    for content in ("the cat", "the dog sits"):
        reader, writer = os.pipe()
        os.write(writer, content.encode())
        os.close(writer)
        with os.fdopen(reader):
            ids = token_array(tmp_path.__class__(f"/dev/fd/{reader}"), words, cache)
        assert words.decode(ids.tolist()) == content and not cache.exists()


def test_cache_on_a_full_disk(text, monkeypatch):
    words, cache = load_tokenizer(write_tokenizer(text.parent)), text.parent / "tokens.npy"
    monkeypatch.setattr(np, "save", full)
    with pytest.raises(SpikeletError, match=f"cannot keep .*{os.strerror(errno.ENOSPC)}"):
        token_array(text, words, cache)
    assert sorted(os.listdir(text.parent)) == ["config.json", "text.txt", "tokenizer.json"]


def test_windows():
    ids = np.arange(500, dtype=np.uint32)
    windows = Windows(ids, 6, 9)
    batch = windows.batch(torch.Generator().manual_seed(seed()))
    assert batch.shape == (6, 10) and batch.dtype == torch.int64
    assert (batch.diff(dim=1) == 1).all() and batch.min() >= 0 and batch.max() < 500
    assert torch.equal(windows.batch(torch.Generator().manual_seed(seed())), batch)
    firsts = Windows(ids, 4000, 9).batch(torch.Generator().manual_seed(seed()))[:, 0]
    assert firsts.min() == 0 and len(firsts.unique()) > 470
    with pytest.raises(SpikeletError, match="the text has 10 tokens.* need 11"):
        Windows(ids[:10], 6, 9)


def test_rate_rises_holds_and_falls():
    s = Settings(steps=100, warm_up=0.1, cool_down=0.5)
    rates = [s.rate_at(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == rates[50] == 1
    assert rates[75] == pytest.approx(0.5) and rates[99] == pytest.approx(0.02)
