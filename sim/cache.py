"""A cache of build results, keyed by contents, which several processes may use at once."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from isa.errors import SpikeletError

_KEEP_SECONDS = 30 * 24 * 3600


def cache_root() -> Path:
    """SPIKELET_CACHE, or spikelet/ in the user's cache folder; created when absent."""
    named = os.environ.get("SPIKELET_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    root = (Path(named) if named else Path(base) / "spikelet").absolute()
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpikeletError(
            f"cannot create the cache folder {root} ({error.strerror}): "
            "set SPIKELET_CACHE to a folder that can be written"
        ) from None
    return root


def content_key(*parts: str | bytes | Path) -> str:
    """20 hexadecimal digits of a hash over the parts; a path stands for the bytes of its file."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            part = part.read_bytes()
        elif isinstance(part, str):
            part = part.encode()
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()[:20]


def lookup(kind: str, key: str) -> Path | None:
    """The folder of a finished entry, or None."""
    entry = cache_root() / kind / key
    if not entry.is_dir():
        return None
    with contextlib.suppress(OSError):
        os.utime(entry)  # marks it as used, for `_prune`
    return entry


def cached(kind: str, key: str, build: Callable[[Path, Path], None]) -> Path:
    """The folder `kind`/`key`; when absent, `build(folder, log)` fills a temporary one first.

    One process builds, others wait for it. An entry appears whole or not at all. The log of a
    build that raises stays in logs/, that of a good build goes.
    """
    entry = lookup(kind, key)
    if entry is not None:
        return entry
    root = cache_root()
    log = root / "logs" / f"{kind}-{key}.log"
    try:
        (root / kind).mkdir(exist_ok=True)
        log.parent.mkdir(exist_ok=True)
        lock = open(root / kind / f"{key}.lock", "w")  # noqa: SIM115 - closed below
    except OSError as error:
        raise SpikeletError(
            f"cannot write to the cache folder {root} ({error.strerror}): "
            "set SPIKELET_CACHE to a folder that can be written"
        ) from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released by closing, also when the process dies
        entry = lookup(kind, key)
        if entry is not None:
            return entry
        _prune(root / kind)
        temporary = Path(tempfile.mkdtemp(prefix=f".{key}-", dir=root / kind))
        try:
            log.unlink(missing_ok=True)
            build(temporary, log)
            temporary.chmod(0o755)
            temporary.rename(root / kind / key)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        log.unlink(missing_ok=True)
    return root / kind / key


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, moved onto it when the block ends without an exception."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(handle)
    try:
        yield Path(name)
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def _prune(folder: Path) -> None:
    """Removes what nobody used for a month, and the leftovers of killed builds."""
    now = time.time()
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            if now - path.stat().st_mtime > _KEEP_SECONDS:
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()
