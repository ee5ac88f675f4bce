"""Safetensors files, one tensor at a time: read by memory map, written as a stream.

The file is a little-endian uint64 (the header's length in bytes), the header (JSON: for each tensor
its dtype, its shape and the range of its bytes behind the header), and the tensors without gaps.
We read it ourselves, so that bfloat16 needs no PyTorch, a model is never whole in memory, and a bad
file gives one clear line. Source: huggingface/safetensors, README.
"""

import json
import math
import mmap
import os
import struct
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from isa.errors import SpikeletError

LENGTH = struct.Struct("<Q")
LONGEST_HEADER = 100_000_000  # bytes, the format's own limit
ITEM_BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2,
              "F16": 2, "BF16": 2, "I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8}
FLOATS = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}
"""The dtypes that `read` converts, and how their bytes are seen."""


@dataclass(frozen=True)
class Tensor:
    """What the header says of one tensor; `begin` and `end` count bytes from the file's start."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class SafetensorsFile:
    """An open safetensors file: `tensors` by name, checked; their values are read when asked for.

    The file stays open: later reads are of the same file, even if another one has taken its name
    meanwhile.

    Raises:
        SpikeletError: one line for a file that is empty, truncated, oversized, damaged or no
            safetensors file.
        OSError: a file that cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._handle)
        self._size = os.fstat(self._handle).st_size
        self.tensors = self._tensors(self._header())

    def _header(self) -> tuple[int, dict[str, Any]]:
        if self._size < LENGTH.size:
            raise SpikeletError(f"{self.path} is empty or truncated ({self._size} bytes): fetch "
                                "the file again")
        length, = LENGTH.unpack(os.pread(self._handle, LENGTH.size, 0))
        if not 2 <= length <= LONGEST_HEADER:
            raise SpikeletError(f"{self.path} does not look like a safetensors file (a header of "
                                f"{length} bytes): fetch the file again")
        start = LENGTH.size + length
        if start > self._size:
            raise SpikeletError(f"{self.path} is truncated: its header alone has {start} bytes, "
                                f"the file has {self._size}; fetch the file again")
        try:
            header = json.loads(os.pread(self._handle, length, LENGTH.size))
        except (ValueError, RecursionError):
            header = None
        if not isinstance(header, dict):
            raise SpikeletError(f"{self.path} is damaged or no safetensors file: its header is no "
                                "JSON object; fetch the file again")
        return start, header

    def _tensors(self, start_and_header: tuple[int, dict[str, Any]]) -> dict[str, Tensor]:
        start, header = start_and_header
        tensors = {name: self._entry(start, name, entry) for name, entry in header.items()
                   if name != "__metadata__"}
        at = start
        for name, tensor in sorted(tensors.items(), key=lambda item: item[1].begin):
            if tensor.begin != at:
                raise SpikeletError(f"{self.path} is damaged: the bytes of {name} do not follow "
                                    "those of the tensor before it; fetch the file again")
            at = tensor.end
        if at != self._size:
            word = "truncated" if self._size < at else "oversized"
            raise SpikeletError(f"{self.path} is {word}: its header asks for {at} bytes, the file "
                                f"has {self._size}; fetch the file again")
        return tensors

    def _entry(self, start: int, name: str, entry: Any) -> Tensor:
        try:
            dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
            fits = (isinstance(dtype, str)
                    and all(type(n) is int and n >= 0 for n in (*shape, begin, end))
                    and (dtype not in ITEM_BYTES      # of a later version: refused where it is used
                         or end - begin == math.prod(shape) * ITEM_BYTES[dtype]))
        except (KeyError, TypeError, ValueError):
            fits = False
        if not fits:
            raise SpikeletError(f"{self.path} is damaged: its header does not describe {name}; "
                                "fetch the file again")
        return Tensor(dtype, tuple(shape), start + begin, start + end)

    def read(self, name: str) -> np.ndarray:
        """One tensor as a float32 array of its own; its dtype is one of FLOATS.

        Raises:
            SpikeletError: values that are no finite numbers, or a file that has shrunk since.
        """
        tensor = self.tensors[name]
        if tensor.begin == tensor.end:
            return np.empty(tensor.shape, np.float32)
        page = tensor.begin - tensor.begin % mmap.ALLOCATIONGRANULARITY
        try:
            mapped = mmap.mmap(self._handle, tensor.end - page, access=mmap.ACCESS_READ,
                               offset=page)
        except (OSError, ValueError):
            raise SpikeletError(f"{self.path} cannot be read any more: load the checkpoint "
                                "again") from None
        raw = np.frombuffer(mapped, FLOATS[tensor.dtype], math.prod(tensor.shape),
                            tensor.begin - page)
        if tensor.dtype == "BF16":      # the upper half of a float32
            wide = raw.astype(np.uint32)
            wide <<= 16
            values = wide.view(np.float32)
        else:
            values = raw.astype(np.float32)
        bad = values.size - np.count_nonzero(np.isfinite(values))
        if bad:
            raise SpikeletError(f"{self.path} is damaged: {bad} of {values.size} values of {name} "
                                "are not finite numbers; fetch the file again")
        return values.reshape(tensor.shape)


def write(file: BinaryIO, shapes: Mapping[str, tuple[int, ...]],
          values: Iterable[np.ndarray]) -> None:
    """Writes float32 tensors as one safetensors file; `values` come one by one, as in `shapes`.

    Raises:
        OSError: what cannot be written.
    """
    # PyTorch's layout: the loader of `transformers` asks for this entry.
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, shape in shapes.items():
        end = at + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)     # tensors begin at a multiple of eight bytes
    file.write(LENGTH.pack(len(text)) + text)
    for shape, value in zip(shapes.values(), values, strict=True):
        if value.shape != shape:
            raise ValueError(f"a tensor of {value.shape} was announced as {shape}")
        file.write(np.ascontiguousarray(value, "<f4"))
