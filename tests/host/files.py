"""Small model files for the command line: checkpoints and tokenizers of the fake's vocabulary."""

import struct
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from golden.checkpoints.checkpoint import random_checkpoint, save_checkpoint, save_llama2c
from golden.checkpoints.config import ModelConfig
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


def write_folder(path: Path) -> Path:
    """The same model and the same tokens as a folder in our own form."""
    library = tokenizers.Tokenizer(models.BPE(
        {piece.strip("\n").replace(" ", "\u0120"): n for n, piece in enumerate(PIECES)}, []))
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    library.decoder = decoders.ByteLevel()
    library.add_special_tokens(["<unk>", "<s>", "</s>"])
    path.mkdir(exist_ok=True)
    library.save(str(path / "tokenizer.json"))
    save_checkpoint(random_checkpoint(SHAPE, seed()), path, path / "tokenizer.json",
                    {"bos_token_id": 1, "eos_token_id": 1})
    return path
