"""Small model files for the command line: a checkpoint and a tokenizer of the fake's vocabulary."""

import struct
from pathlib import Path

from golden.model.checkpoint import random_checkpoint, save_llama2c
from golden.model.config import ModelConfig
from tests.host.fake import VOCAB
from tests.seeds import seed

SHAPE = ModelConfig(dim=16, hidden=24, layers=2, heads=4, kv_heads=2, head_dim=4, vocab=VOCAB,
                    context=32)
PIECES = ["<unk>", "\n<s>\n", "\n</s>\n", *" abcdefghijklmnopqrs"]
assert len(PIECES) == VOCAB


def write_tokenizer(path: Path, pieces: list[str] = PIECES) -> Path:
    """A tokenizer of single characters, without byte tokens."""
    longest = max(len(piece) for piece in pieces)
    entries = [struct.pack("<fi", -float(n), len(piece)) + piece.encode()
               for n, piece in enumerate(pieces)]
    path.write_bytes(struct.pack("<i", longest) + b"".join(entries))
    return path


def write_checkpoint(path: Path) -> Path:
    """A random model that the tiny configuration holds."""
    save_llama2c(random_checkpoint(SHAPE, seed()), path)
    return path
