"""Hashes of bytes and of integers, short enough to be recorded."""

import hashlib
import json

import numpy as np
import torch

PART_DIGITS = 8  # hexadecimal, of the hash of a part, which only says where a difference is


def digest(*parts: bytes | np.ndarray | torch.Tensor) -> str:
    """The SHA-256 of bytes, or of integers as 64 bits each, little-endian."""
    hashed = hashlib.sha256()
    for part in parts:
        hashed.update(part if isinstance(part, bytes)
                      else np.asarray(part).astype("<i8").tobytes())
    return hashed.hexdigest()


def short(*parts: bytes | np.ndarray | torch.Tensor) -> str:
    """The beginning of a digest: of a part of what is hashed as a whole, too."""
    return digest(*parts)[:PART_DIGITS]


def json_bytes(value: object) -> bytes:
    """A value as JSON with sorted keys."""
    return json.dumps(value, sort_keys=True).encode()
