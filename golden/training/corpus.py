"""Text for training: a tokenizer made for it, and its tokens as one long array."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from golden.model.perplexity import SEPARATOR
from golden.model.tokenizer import Tokenizer
from isa.errors import SpikeletError

END = SEPARATOR  # the one special token: it ends a text, and begins the next


def documents(path: Path) -> Iterator[str]:
    """The texts of a file, without their separators and without empty ones.

    Raises:
        SpikeletError: a file that is missing, a folder, no UTF-8, or without any text.
    """
    some, text = False, []
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                before, found, after = line.partition(SEPARATOR)
                text.append(before)
                if found:
                    document, text = "".join(text).strip(), [after]
                    if document:
                        some = True
                        yield document
    except FileNotFoundError:
        raise SpikeletError(f"text {path} does not exist: check the path") from None
    except UnicodeDecodeError as error:
        raise SpikeletError(f"text {path} is no UTF-8 text (byte {error.start}): convert it "
                            "first") from None
    except OSError as error:
        raise SpikeletError(f"text {path} cannot be read: {error.strerror}") from None
    document = "".join(text).strip()
    if document:
        yield document
    elif not some:
        raise SpikeletError(f"text {path} is empty: give a file with some words")


def train_tokenizer(path: Path, vocab: int, out: Path) -> None:
    """Writes a byte-level byte-pair tokenizer of `vocab` tokens, made for the texts of a file.

    Token 0 is `<|endoftext|>`; every byte has a token, so that any text can be written.

    Raises:
        SpikeletError: too few tokens for the bytes, or a text too small for so many tokens.
    """
    from tokenizers import Tokenizer as Model
    from tokenizers import decoders, models, pre_tokenizers, trainers

    if vocab <= 257:
        raise SpikeletError(f"a vocabulary of {vocab} tokens has no room beside the 256 bytes: use "
                            "300 or more")
    model = Model(models.BPE())
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocab, special_tokens=[END], show_progress=False,
                                  initial_alphabet=alphabet)
    model.train_from_iterator(documents(path), trainer)
    if model.get_vocab_size() != vocab:
        raise SpikeletError(f"text {path} gives only {model.get_vocab_size()} tokens, not {vocab}: "
                            "give more text, or a smaller vocabulary")
    model.save(str(out))


def token_array(path: Path, tokenizer: Tokenizer, cache: Path | None = None,
                tell: Callable[[int], None] = lambda done: None) -> np.ndarray:
    """All texts of a file as token ids, each after the token that begins a text: (N,) uint32.

    `cache` is a file that keeps them for the next time, as long as text and tokenizer are the same.

    Raises:
        SpikeletError: as `documents`.
    """
    begin = [] if tokenizer.begin is None else [tokenizer.begin]
    key = None
    if cache is not None:
        digest = hashlib.sha256(path.read_bytes() if path.is_file() else b"")
        digest.update(repr([tokenizer.encode(word) for word in ("Once upon", "Zoë", "")]).encode())
        key = np.frombuffer(digest.digest(), dtype=np.uint32)
        if cache.exists():
            kept = np.load(cache)
            if np.array_equal(kept[:len(key)], key):
                return kept[len(key):]
    parts, done = [], 0
    for document in documents(path):
        ids = begin + tokenizer.encode(document, bos=False)
        parts.append(np.array(ids, dtype=np.uint32))
        done += len(ids)
        tell(done)
    ids = np.concatenate(parts)
    if key is not None:
        np.save(cache, np.concatenate([key, ids]))
    return ids


class Windows:
    """Random windows of a token array: `batch(generator)` gives (B, T + 1) int64 ids.

    Raises:
        SpikeletError: fewer tokens than a window has.
    """

    def __init__(self, ids: np.ndarray, batch: int, length: int) -> None:
        if len(ids) <= length + 1:
            raise SpikeletError(f"the text has {len(ids)} tokens, a window of training "
                                f"{length + 1}: give more text, or a shorter --length")
        self.ids, self.size, self.length = ids, batch, length

    def batch(self, generator: torch.Generator) -> torch.Tensor:
        starts = torch.randint(len(self.ids) - self.length - 1, (self.size, 1),
                               generator=generator)
        at = (starts + torch.arange(self.length + 1)).numpy()
        return torch.from_numpy(self.ids[at].astype(np.int64))
