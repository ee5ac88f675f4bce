"""Text for training: a tokenizer made for it, and its tokens as one long array."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from golden.checkpoints.atomic import replace_files
from golden.evaluation.perplexity import SEPARATOR
from golden.tokenizers.tokenizer import Tokenizer
from isa.errors import SpikeletError

END = SEPARATOR  # the one special token: it ends a text, and begins the next


def documents(path: Path) -> Iterator[str]:
    """The texts of a file, without their separators and without empty ones.

    Raises:
        SpikeletError: a file that is missing, a folder, no UTF-8, or without any text.
    """
    some, text, number = False, [], 0
    try:
        with path.open("rb") as file:
            for raw in file:
                number += 1
                line = raw.decode().replace("\r\n", "\n")
                *ended, last = line.split(SEPARATOR)
                for part in ended:
                    document = "".join([*text, part]).strip()
                    text = []
                    if document:
                        some = True
                        yield document
                text.append(last)
    except FileNotFoundError:
        raise SpikeletError(f"text {path} does not exist: check the path") from None
    except UnicodeDecodeError:
        raise SpikeletError(f"text {path} is no UTF-8 text (line {number}): convert it first"
                            ) from None
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
        SpikeletError: too few tokens for the bytes, a text too small for so many tokens, a file
            that cannot be written; as `documents`.
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
    try:
        replace_files(out.parent, {out.name: lambda file: file.write(
            model.to_str(pretty=True).encode())})
    except OSError as error:
        raise SpikeletError(f"cannot write {out}: {error.strerror or error}") from None


def transformers_settings(tokenizer: Path, context: int) -> dict[str, Any] | None:
    """tokenizer_config.json of a tokenizer that `train_tokenizer` made, for `transformers`.

    None for any other tokenizer: it comes with settings of its own.
    """
    if tokenizer.suffix != ".json":
        return None
    added = json.loads(tokenizer.read_text(encoding="utf-8")).get("added_tokens", [])
    if [(token["id"], token["content"]) for token in added] != [(0, END)]:
        return None
    return {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": END, "eos_token": END,
            "pad_token": END, "padding_side": "left", "clean_up_tokenization_spaces": False,
            "model_max_length": context}


def token_array(path: Path, tokenizer: Tokenizer, cache: Path | None = None,
                tell: Callable[[int], None] = lambda done: None) -> np.ndarray:
    """All texts of a file as token ids, each after the token that begins a text: (N,) uint32.

    `cache` is a file that keeps them for the next time, as long as text and tokenizer are the same.

    Raises:
        SpikeletError: as `documents`; a cache that cannot be written.
    """
    begin = [] if tokenizer.begin is None else [tokenizer.begin]
    key = None
    if cache is not None and path.is_file():  # a pipe is read once, and has no checksum before
        digest = hashlib.sha256(path.read_bytes())
        digest.update(repr([begin, [tokenizer.piece(n) for n in range(tokenizer.vocab)],
                            tokenizer.encode("Once upon")]).encode())
        key = np.frombuffer(digest.digest(), dtype=np.uint32)
        kept = _cached(cache)
        if kept is not None and np.array_equal(kept[:len(key)], key):
            return kept[len(key):]
    parts, done = [], 0
    for document in documents(path):
        ids = begin + tokenizer.encode(document, bos=False)
        parts.append(np.array(ids, dtype=np.uint32))
        done += len(ids)
        tell(done)
    ids = np.concatenate(parts)
    if key is not None:
        kept = np.concatenate([key, ids])
        try:
            replace_files(cache.parent, {cache.name: lambda file: np.save(file, kept)})
        except OSError as error:
            raise SpikeletError(f"cannot keep the text's tokens in {cache} (is the disk full?): "
                                f"{error.strerror or error}") from None
    return ids


def _cached(cache: Path) -> np.ndarray | None:
    """What a cache holds; None where there is none, or a damaged one."""
    try:
        kept = np.load(cache)
    except (OSError, ValueError, EOFError):
        return None
    return kept if kept.ndim == 1 and kept.dtype == np.uint32 else None


class Windows:
    """Random windows of a token array: `batch(generator)` gives (B, T + 1) int64 ids.

    Raises:
        SpikeletError: fewer tokens than a window has.
    """

    def __init__(self, ids: np.ndarray, batch: int, length: int) -> None:
        if len(ids) <= length + 1:
            raise SpikeletError(f"the text has {len(ids):,} tokens, and windows of training need "
                                f"{length + 2:,}: give more text, or a shorter --length")
        self.ids, self.size, self.length = ids, batch, length

    def batch(self, generator: torch.Generator) -> torch.Tensor:
        starts = torch.randint(len(self.ids) - self.length - 1, (self.size, 1),
                               generator=generator)
        at = (starts + torch.arange(self.length + 1)).numpy()
        return torch.from_numpy(self.ids[at].astype(np.int64))
