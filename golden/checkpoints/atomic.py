"""Files that are replaced together or not at all."""

import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO


def replace_files(folder: Path, writers: Mapping[str, Callable[[BinaryIO], object]]) -> None:
    """Writes files by name into a folder, which is made where it does not exist.

    Each is written and synchronised under a temporary name; when all are on the disk they take
    their names, in order. Whatever fails before that, a full disk above all, leaves the folder as
    it was; a crash between two renames leaves whole files, the first ones new.

    Raises:
        OSError: what cannot be written.
    """
    existed = folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    written: dict[str, str] = {}
    try:
        for name, write in writers.items():
            handle, temporary = tempfile.mkstemp(prefix=f".{name}-", dir=folder)
            written[name] = temporary
            with os.fdopen(handle, "wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
        for name in list(written):
            os.replace(written[name], folder / name)
            del written[name]
        directory = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    finally:
        for temporary in written.values():
            with suppress(OSError):
                os.unlink(temporary)
        if not existed:
            with suppress(OSError):     # it holds files now
                folder.rmdir()
