"""Finds a model's tokenizer file and reads it, whichever format it has."""

from pathlib import Path

from golden.tokenizers.huggingface import read_json_tokenizer
from golden.tokenizers.llama2c import read_llama2c
from golden.tokenizers.tokenizer import Tokenizer
from isa.errors import SpikeletError

JSON_FILE, LLAMA2C_FILE = "tokenizer.json", "tokenizer.bin"


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
